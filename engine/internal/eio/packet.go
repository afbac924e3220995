package eio

// PacketType is the type of an Engine.IO packet.
type PacketType uint8

// The types of the protocol; the digit on the wire is '0' plus the value.
const (
	PacketOpen PacketType = iota
	PacketClose
	PacketPing
	PacketPong
	PacketMessage
	PacketUpgrade
	PacketNoop
)

// probe is the data of the ping and the pong that test a WebSocket before an upgrade.
const probeData = "probe"

// Packet is what a Handler gets and the per-packet hooks see.
type Packet struct {
	Type   PacketType
	Binary bool
	Own    bool   // Data is nobody else's: a Handler may keep it
	Data   []byte // read-only for hooks
}

// parseText reads a text packet other than "b...".
func parseText(b []byte) (Packet, bool) {
	if len(b) == 0 || b[0] < '0' || b[0] > '6' {
		return Packet{}, false
	}
	return Packet{Type: PacketType(b[0] - '0'), Data: b[1:]}, true
}
