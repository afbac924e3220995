package bus

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"slices"
	"strings"
	"testing"
	"testing/iotest"
	"testing/synctest"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/architus/guildcast/internal/wake"
)

// TestSlots has the examples of the Redis Cluster specification.
func TestSlots(t *testing.T) {
	for name, want := range map[string]uint16{
		"123456789": 0x31c3, "": 0, "{user1000}.following": slotOf("user1000"),
		"{user1000}.followers": slotOf("user1000"),
		"foo{}{bar}":           slotOf("foo{}{bar}"), "foo{{bar}}zap": slotOf("{bar"), "foo{bar}{zap}": slotOf("bar"),
		"foo": 12182, "bar": 5061,
	} {
		if got := slotOf(name); got != want {
			t.Errorf("slot of %q is %d, want %d", name, got, want)
		}
	}
	if slotOf("foo{}{bar}") == slotOf("bar") {
		t.Error("an empty tag counts as none")
	}
}

// readAll has a reader read wire, on a link that has a channel "c", a pattern "p*" and a sharded channel "s", whose
// confirmations are outstanding, and returns what was heard.
func readAll(wire []byte) (heard []string, b *Bus, err error) { return readFrom(bytes.NewReader(wire)) }

func readFrom(wire io.Reader) (heard []string, b *Bus, err error) {
	b = New(nil, Options{MaxMessageBytes: 1 << 16})
	l := newLink(b, mainRoute, &redis.Options{Addr: "test"})
	s := &Subscription{bus: b, wake: wake.New(), space: wake.New(), ended: make(chan struct{})}
	b.mu.Lock()
	b.links[mainRoute] = l
	l.probe.init(l)
	l.probe.name = "probe"
	for k, name := range []string{"c", "p*", "s"} {
		t := &topic{kind: Kind(k), name: name, subs: []*Subscription{s}}
		b.topics[k][name] = t
		l.attachLocked(t)
		l.commandsLocked(nil) // one by one, so that they are always in this order, the probe second
	}
	b.mu.Unlock()
	err = newReader(l, &conn{r: bufio.NewReader(wire)}).run()
	for _, m := range s.queue {
		heard = append(heard, fmt.Sprintf("%s %s %s", m.Pattern, m.Channel, m.Payload))
	}
	b.linkEnded(l, err)
	b.cancel()
	return heard, b, err
}

func TestReader(t *testing.T) {
	// As redis-server 7.0.15 writes it.
	wire := "*3\r\n$7\r\nmessage\r\n$1\r\nc\r\n$2\r\nhi\r\n" +
		"*4\r\n$8\r\npmessage\r\n$2\r\np*\r\n$2\r\np1\r\n$0\r\n\r\n" +
		"*3\r\n$8\r\nsmessage\r\n$1\r\ns\r\n$4\r\na\r\nb\r\n" +
		"*3\r\n$7\r\nmessage\r\n$5\r\nother\r\n$2\r\nno\r\n" +
		"*3\r\n$7\r\nmessage\r\n$5\r\nprobe\r\n$2\r\nno\r\n" +
		"*2\r\n$4\r\npong\r\n$0\r\n\r\n+PONG\r\n"
	heard, b, err := readAll([]byte(wire))
	if want := `[ c hi p* p1   s ` + "a\r\nb]"; fmt.Sprint(heard) != want {
		t.Errorf("heard %q", heard)
	}
	if err == nil || err.Error() != "EOF" {
		t.Errorf("ended with %v", err)
	}
	if s := b.Stats(); s.Received != 3 {
		t.Errorf("stats %+v", s)
	}
	for _, bad := range []string{
		"*1\r\n$4\r\npong\r\n", "*9\r\n", "$1\r\nx\r\n", "*3\r\n$7\r\nmessage\r\n$-1\r\n$-1\r\n",
		"*3\r\n$5\r\nhello\r\n$1\r\nx\r\n:1\r\n",
		"*3\r\n$9\r\nsubscribe\r\n$7\r\nunasked\r\n:1\r\n",
		"*3\r\n$7\r\nmessage\r\n$1\r\nc\r\n$99999999999999999999\r\n",
		"*3\r\n$7\r\nmessage\r\n$1\r\ncxx$1\r\n", "\r\n", "*\r\n", "*3\r\n$\r\n",
	} {
		if _, _, err := readAll([]byte(bad)); err == nil || err.Error() == "EOF" {
			t.Errorf("%q: %v", bad, err)
		}
	}
}

func FuzzReader(f *testing.F) {
	f.Add([]byte("*3\r\n$7\r\nmessage\r\n$1\r\nc\r\n$2\r\nhi\r\n"))
	f.Add([]byte("*3\r\n$9\r\nsubscribe\r\n$1\r\nc\r\n:1\r\n*3\r\n$9\r\nsubscribe\r\n$5\r\nprobe\r\n:2\r\n" +
		"*3\r\n$10\r\npsubscribe\r\n$2\r\np*\r\n:3\r\n-ERR no\r\n"))
	f.Add([]byte("*3\r\n$12\r\nsunsubscribe\r\n$1\r\ns\r\n:0\r\n*4\r\n$8\r\npmessage\r\n$2\r\np*\r\n$2\r\np1\r\n$70000\r\n"))
	f.Fuzz(func(t *testing.T, wire []byte) {
		heard, _, err := readAll(wire)
		if err == nil {
			t.Fatal("no error at the end")
		}
		again, _, err2 := readFrom(iotest.OneByteReader(bytes.NewReader(wire)))
		if !slices.Equal(again, heard) || (errors.Is(err, io.EOF)) != errors.Is(err2, io.EOF) {
			t.Fatalf("%q is %q and %v, and byte by byte %q and %v", wire, heard, err, again, err2)
		}
		// Whatever a message holds comes through as it is.
		const frame = "*3\r\n$7\r\nmessage\r\n$1\r\nc\r\n$%d\r\n%s\r\n"
		whole := fmt.Appendf(fmt.Appendf(nil, frame, len(wire), wire), frame, 3, "end")
		if heard, _, _ = readAll(whole); !slices.Equal(heard, []string{" c " + string(wire), " c end"}) &&
			len(wire) <= 1<<16 {
			t.Fatalf("%q is heard as %q", wire, heard)
		}
	})
}

// TestHealth shows when a silent connection is asked for a sign of life, not believed to hear, and given up.
func TestHealth(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := New(nil, Options{HealthInterval: time.Second})
		l := newLink(b, mainRoute, &redis.Options{})
		l.probe.sent = true
		var wrote bytes.Buffer
		ctx, cancel := context.WithCancel(context.Background())
		start := time.Now()
		ended := make(chan error)
		go func() { ended <- l.write(ctx, &conn{nc: &pipeEnd{Buffer: &wrote}}) }()
		l.active.Store(true)
		time.Sleep(900 * time.Millisecond)
		synctest.Wait()
		b.mu.Lock()
		if got := wrote.String(); got != "*1\r\n$4\r\nping\r\n" || l.silent {
			t.Errorf("wrote %q, silent: %v", got, l.silent)
		}
		b.mu.Unlock()
		time.Sleep(200 * time.Millisecond)
		synctest.Wait()
		if b.mu.Lock(); !l.silent {
			t.Error("believed to hear after a second")
		}
		b.mu.Unlock()
		if err := <-ended; err == nil || time.Since(start) != 2250*time.Millisecond {
			t.Errorf("ended after %v with %v", time.Since(start), err)
		}
		cancel()
		b.cancel()
	})
}

// pipeEnd is a connection that is only written to.
type pipeEnd struct {
	net.Conn
	*bytes.Buffer
}

func (p *pipeEnd) Write(b []byte) (int, error)      { return p.Buffer.Write(b) }
func (p *pipeEnd) Read(b []byte) (int, error)       { return p.Buffer.Read(b) }
func (p *pipeEnd) SetWriteDeadline(time.Time) error { return nil }

// TestGapBeforeProbe: a subscription was confirmed, and the connection lost before its probe came back. Whoever relies
// on the confirmation must be told, whether that was the first connection or not.
func TestGapBeforeProbe(t *testing.T) {
	const confirmation = "*3\r\n$9\r\nsubscribe\r\n$1\r\nc\r\n:1\r\n"
	b := New(nil, Options{})
	defer b.cancel()
	s := &Subscription{bus: b, ended: make(chan struct{})}
	topic := &topic{kind: Channel, name: "c", subs: []*Subscription{s}}
	b.topics[Channel]["c"] = topic
	session := func(wire string, verified bool) State {
		l := newLink(b, mainRoute, &redis.Options{Addr: "test"})
		b.mu.Lock()
		b.links[mainRoute] = l
		l.attachLocked(topic)
		l.probe.init(l)
		l.commandsLocked(nil)
		b.mu.Unlock()
		err := newReader(l, &conn{r: bufio.NewReader(strings.NewReader(wire))}).run()
		b.mu.Lock()
		if l.verified = verified; verified {
			b.reviewLocked()
		}
		state := b.state
		b.mu.Unlock()
		b.linkEnded(l, err)
		if verified {
			return state
		}
		return b.State()
	}
	for _, step := range []struct {
		wire     string
		verified bool
		want     State
	}{
		{"", false, State{}},
		{confirmation, false, State{Gap: true}},
		{"", false, State{Gap: true}},
		{confirmation, true, State{Hearing: true, Gap: true}},
		{confirmation, true, State{Hearing: true, Gap: true}},
	} {
		if got := session(step.wire, step.verified); got.Hearing != step.want.Hearing || got.Gap != step.want.Gap {
			t.Errorf("after %+v: state %+v", step, got)
		}
	}
}
