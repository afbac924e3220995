package handlers

import (
	"strconv"
	"testing"
)

// Many addresses with one request each do not pass the bound of all.
func TestSlotsBoundBytesOfManyAddresses(t *testing.T) {
	x := newSlots(Limits{RequestsPerNode: -1, RequestsPerAddress: -1, RequestsPerUser: -1})
	const each = 1 << 20
	var gives []func()
	for i := range 1000 {
		if give := x.take(&session{address: strconv.Itoa(i)}, each); give != nil {
			gives = append(gives, give)
		}
	}
	if held := len(gives) * each; held != anonymousHeld {
		t.Fatalf("%d bytes are held, want %d", held, anonymousHeld)
	}
	for _, give := range gives {
		give()
	}
	if x.inProgress() != 0 || x.anonymous.used.bytes != 0 || len(x.anonymous.of) != 0 {
		t.Fatalf("after all were given back: %+v", x.anonymous)
	}
	if x.take(&session{address: "a"}, anonymousHeld+1) == nil {
		t.Error("a request that is alone does not fit")
	}
}
