package eio

import (
	"testing"

	"github.com/architus/guildcast/internal/test/wait"
)

// writing reports whether somebody is to write for the WebSocket.
func (o *owner) writing() bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.ws.claimed
}

// What is held waits for Flush.
func TestHold(t *testing.T) {
	overDrivers(t, func(t *testing.T, d driver) {
		f := newFixture(t, d, Config{})
		p, o := f.openWS()
		wait.Until(t, "the open packet to be written", func() bool { return !o.writing() })
		o.Hold(Keep, TextFrame([]byte("one")))
		o.Hold(ShedWhenBehind, TextFrame([]byte("two")), TextFrame([]byte("three")))
		if o.writing() {
			t.Error("a held frame is being written")
		}
		o.Flush()
		p.expectText("4one")
		p.expectText("4two")
		p.expectText("4three")
		o.Flush() // of nothing
		o.Hold(Keep, TextFrame([]byte("four")))
		o.Send(TextFrame([]byte("five")))
		p.expectText("4four")
		p.expectText("4five")
		o.Hold(Keep, TextFrame([]byte("last")))
		o.Close(false)
		p.expectText("4last")
		p.expectClose(0)
		if o.Hold(Keep, TextFrame([]byte("late"))) != Dropped {
			t.Error("a closed session queued a frame")
		}
		o.Flush()
	})
}

func TestHoldPolling(t *testing.T) {
	f := newFixture(t, plain, Config{})
	query, o := f.openPolling()
	poll := f.goGet(query)
	o.waiting()
	o.Hold(Keep, TextFrame([]byte("one")))
	o.Hold(Keep, TextFrame([]byte("two")))
	select {
	case a := <-poll:
		t.Errorf("the poll was answered with %q", a.body)
	default:
	}
	o.Flush()
	if a := f.await(poll); a.body != "4one\x1e4two" {
		t.Errorf("the poll was answered with %q", a.body)
	}
}
