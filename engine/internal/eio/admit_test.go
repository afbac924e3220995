package eio

import (
	"net/http"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/architus/guildcast/internal/test/wait"
)

// TestAdmit counts sessions from outside: whatever becomes of a handshake, it is released once.
func TestAdmit(t *testing.T) {
	overDrivers(t, func(t *testing.T, d driver) {
		var mu sync.Mutex
		open, admitted, most := 0, 0, 2
		count := func() int {
			mu.Lock()
			defer mu.Unlock()
			return open
		}
		f := newFixture(t, d, Config{Admit: func(*http.Request) (func(), time.Duration) {
			mu.Lock()
			defer mu.Unlock()
			if open == most {
				return nil, 1500 * time.Millisecond
			}
			open++
			admitted++
			released := false
			return func() {
				mu.Lock()
				defer mu.Unlock()
				if released {
					t.Error("released twice")
				}
				released = true
				open--
			}, 0
		}})
		_, polling := f.openPolling()
		f.openWS()
		if n := count(); n != 2 {
			t.Fatalf("%d sessions count", n)
		}
		for _, query := range []string{"EIO=4&transport=polling", "EIO=4&transport=polling"} {
			a := f.get(query)
			seconds, err := strconv.Atoi(a.header.Get("Retry-After"))
			if a.status != 503 || err != nil || seconds != 2 {
				t.Errorf("over the limit: %d %v", a.status, a.header)
			}
		}
		polling.Close(true)
		wait.Until(t, "the place of the session", func() bool { return count() == 1 })

		// Handshakes that fail behind the question.
		f.refuse = http.ErrNotSupported
		if a := f.get("EIO=4&transport=polling"); a.status != 400 {
			t.Errorf("refused by accept: %d", a.status)
		}
		f.refuse = nil
		a := f.do("GET", "EIO=4&transport=websocket", "", "Connection", "Upgrade", "Upgrade", "websocket")
		if a.status != 426 { // no version
			t.Errorf("a bad WebSocket handshake: %d", a.status)
		}
		if a := f.get("EIO=4&transport=nonsense"); a.status != 400 {
			t.Errorf("an unknown transport: %d", a.status)
		}
		if n := count(); n != 1 || admitted != 4 {
			t.Errorf("%d of %d sessions count", n, admitted)
		}
		f.eio.Close(true)
		wait.Until(t, "the place of the last session", func() bool { return count() == 0 })
	})
}
