package handlers

import "strconv"

// idSet is a set of ids that stores numbers compactly. The zero value is empty.
type idSet struct {
	numbers map[uint64]struct{}
	names   map[string]struct{}
	bytes   int // roughly what the set takes, and the ids that appendNew has appended
}

// The size of an id in a set, in bytes.
const (
	numberBytes = 16
	nameBytes   = 48 // besides its text
)

// add adds id and reports whether it is new.
func (x *idSet) add(id string) bool {
	n, err := strconv.ParseUint(id, 10, 64)
	if err != nil || id[0] == '0' || id[0] == '+' { // no number, or one that is also written otherwise
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

// appendNew adds ids to the set, and appends those that are new to list.
func (x *idSet) appendNew(list, ids []string) []string {
	for _, id := range ids {
		if x.add(id) {
			list = append(list, id)
			x.bytes += idOverhead + len(id)
		}
	}
	return list
}
