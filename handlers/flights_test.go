package handlers

import (
	"testing"
	"testing/synctest"
)

func TestFlights(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFlights()
		early, other := f.begin("1"), f.begin("2")
		waited := false
		go func() {
			f.wait("1")
			waited = true
		}()
		synctest.Wait()
		late := f.begin("1") // begins after the wait, which does not wait for it
		if waited {
			t.Fatal("did not wait")
		}
		f.end(early)
		synctest.Wait()
		if !waited {
			t.Fatal("waits for another guild's delivery, or for one that began later")
		}
		f.end(late)
		f.end(other)
		f.wait("1")
		f.wait("2")
		if len(f.list) != 0 {
			t.Fatalf("%v are left", f.list)
		}
	})
}
