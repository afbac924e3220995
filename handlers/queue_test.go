package handlers

import (
	"context"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/architus/guildcast/engine"
)

// endless interprets until it is told to stop, and remembers what it was given.
type endless struct {
	mu  sync.Mutex
	got []string
}

func (e *endless) InterpretJSON(ctx context.Context, payload []byte) ([]byte, error) {
	e.mu.Lock()
	e.got = append(e.got, string(payload))
	e.mu.Unlock()
	<-ctx.Done()
	return nil, ctx.Err()
}

// Time runs from the arrival, for those that wait as well; and nothing is kept that no interpreter reads.
func TestInterpretWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, Config{RequestTimeout: 5 * time.Second})
		e := &endless{}
		b.g.interpreter = e
		s := b.socket("s")
		var tasks []*request
		for range 20 {
			r := &request{session: s, event: "interpret"}
			r.fields = map[string]any{"content": "x", "junk": strings.Repeat("x", 1<<20)}
			if err := onInterpret(r); err != nil {
				t.Fatal(err)
			}
			if r.fields != nil {
				t.Fatal("the fields of a request that waits are kept")
			}
			tasks = append(tasks, r)
		}
		synctest.Wait()
		s.mu.Lock()
		held := s.held
		s.mu.Unlock()
		e.mu.Lock()
		given := slices.Clone(e.got)
		e.mu.Unlock()
		if held > 20*100 {
			t.Errorf("%d bytes are held", held)
		}
		if b.g.slots.inProgress() != len(tasks) || len(given) != 1 || given[0] != `{"content":"x"}` {
			t.Fatalf("%d in progress; %q", b.g.slots.inProgress(), given)
		}
		time.Sleep(5*time.Second + time.Millisecond) // of the bubble's clock
		synctest.Wait()
		if got := b.take(s); b.g.slots.inProgress() != 0 || len(got) != len(tasks) ||
			strings.Count(strings.Join(got, ""), "504") != len(tasks) {
			t.Fatalf("after their time %d are in progress, and %d answered: %q", b.g.slots.inProgress(), len(got), got)
		}
		if len(s.interpreting.list) != 0 || s.held != 0 {
			t.Fatal("places are left taken")
		}
	})
}

// One socket's requests hold only so much.
func TestInterpretBytes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, Config{})
		b.g.interpreter = &endless{}
		s := newSession(b.g, &standIn{b, "s"}, "s", new(engine.Conn), "192.0.2.1")
		refused := 0
		for range 20 {
			r := &request{session: s, event: "interpret"}
			r.fields = map[string]any{"allowed_commands": strings.Repeat("x", DefaultLimits().SocketBytes/10)}
			if err := onInterpret(r); err != nil {
				refused++
			}
		}
		if refused != 11 {
			t.Errorf("%d of 20 are refused", refused)
		}
		s.close()
		synctest.Wait()
	})
}
