package forward

import (
	"net"
	"testing"
	"time"
)

// A client whose WebSocket is cut in the middle of its upgrade hears nothing until its ping timeout.
func TestYoungTunnelsStay(t *testing.T) {
	now := time.Now()
	var all tunnels
	ages := []time.Duration{settle / 2, 3 * settle, 2 * settle}
	made := make([]*tunnel, len(ages))
	for i, age := range ages {
		nc, peer := net.Pipe()
		defer peer.Close()
		made[i] = all.add(nc)
		made[i].since = now.Add(-age)
	}
	expect := func(open ...int) {
		t.Helper()
		if all.open() != len(open) {
			t.Errorf("%d are open, want %v", all.open(), open)
		}
		for _, i := range open {
			if _, there := all.conns[made[i]]; !there {
				t.Errorf("number %d is closed", i)
			}
		}
	}
	all.close(1, now.Add(-settle))
	expect(0, 2)
	all.close(5, now.Add(-settle))
	expect(0)
	all.close(5, now)
	expect()
}
