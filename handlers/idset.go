package handlers

import "strconv"

// idSet is a set of ids, compact for those that are numbers. The zero value is empty.
type idSet struct {
	numbers map[uint64]struct{}
	names   map[string]struct{}
	bytes   int // what the set and the slices that appendNew has filled take, about
}

// What an id takes in a set, in bytes.
const (
	numberBytes = 16
	nameBytes   = 48 // and its text
)

// add reports whether id is new.
func (x *idSet) add(id string) bool {
	n, err := strconv.ParseUint(id, 10, 64)
	if err != nil || id[0] == '0' || id[0] == '+' { // another text of the same number
		return x.addName(id)
	}
	before := len(x.numbers)
	if x.numbers == nil {
		x.numbers = map[uint64]struct{}{}
	}
	x.numbers[n] = struct{}{}
	if len(x.numbers) == before {
		return false
	}
	x.bytes += numberBytes
	return true
}

func (x *idSet) addName(id string) bool {
	if _, there := x.names[id]; there {
		return false
	}
	if x.names == nil {
		x.names = map[string]struct{}{}
	}
	x.names[id] = struct{}{}
	x.bytes += nameBytes + len(id)
	return true
}

// appendNew appends those of ids that are new.
func (x *idSet) appendNew(list, ids []string) []string {
	for _, id := range ids {
		if x.add(id) {
			list = append(list, id)
			x.bytes += idOverhead + len(id)
		}
	}
	return list
}
