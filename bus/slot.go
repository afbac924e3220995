package bus

import "strings"

const slots = 16384

// slotOf returns the cluster slot of a key or sharded channel: CRC16 (XModem) of the hash tag, if there is one, or of
// the whole name. Source: Redis Cluster specification, "Key distribution model".
func slotOf(name string) uint16 {
	if _, rest, ok := strings.Cut(name, "{"); ok {
		if tag, _, ok := strings.Cut(rest, "}"); ok && tag != "" {
			name = tag
		}
	}
	var crc uint16
	for i := range len(name) {
		crc = crc<<8 ^ crcTable[byte(crc>>8)^name[i]]
	}
	return crc % slots
}

// crcTable is the CRC16 of each byte value; never written to.
var crcTable = func() (table [256]uint16) {
	for i := range table {
		crc := uint16(i) << 8
		for range 8 {
			if crc&0x8000 != 0 {
				crc = crc<<1 ^ 0x1021
			} else {
				crc <<= 1
			}
		}
		table[i] = crc
	}
	return table
}()
