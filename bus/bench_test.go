package bus

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"testing"

	"github.com/redis/go-redis/v9"
)

// endless gives the same bytes again and again.
type endless struct {
	b  []byte
	at int
}

func (e *endless) Read(p []byte) (int, error) {
	n := copy(p, e.b[e.at:])
	e.at = (e.at + n) % len(e.b)
	return n, nil
}

type sink struct{ wants bool }

func (s sink) HandleMessage(Message) {}
func (s sink) Wants(string) bool     { return s.wants }

// BenchmarkReceive reads messages of 200 bytes from memory up to the handler: what a message costs beside the kernel.
func BenchmarkReceive(b *testing.B) {
	for _, wants := range []bool{true, false} {
		b.Run(fmt.Sprintf("wanted=%v", wants), func(b *testing.B) {
			bus := New(nil, Options{})
			defer bus.cancel()
			s := bus.NewSubscription(sink{wants})
			l := newLink(bus, mainRoute, &redis.Options{})
			bus.mu.Lock()
			t := &topic{kind: Pattern, name: "socket.io#/#*", subs: []*Subscription{s}}
			bus.topics[Pattern][t.name] = t
			l.attachLocked(t)
			bus.mu.Unlock()
			wire := appendCommand(nil, "pmessage", t.name, "socket.io#/#room#", string(bytes.Repeat([]byte("x"), 200)))
			r := newReader(l, &conn{r: bufio.NewReaderSize(&endless{b: wire}, 64<<10)})
			b.ReportAllocs()
			for b.Loop() {
				if err := r.next(); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// BenchmarkPublish queues messages of 200 bytes and writes them, without the kernel.
func BenchmarkPublish(b *testing.B) {
	payload := bytes.Repeat([]byte("x"), 200)
	var buf []byte
	bus := New(nil, Options{PublishQueueBytes: 1 << 40})
	bus.router = singleRouter{}
	bus.pub.started.Do(func() {}) // nobody takes them but we
	var ms []outgoing
	b.ReportAllocs()
	for b.Loop() {
		if err := bus.Publish(Channel, "socket.io#/#room#", payload); err != nil {
			b.Fatal(err)
		}
		if len(bus.pub.queue) == 100 {
			ms = bus.pub.take(ms)
			buf = buf[:0]
			for i := range ms {
				buf = appendPublish(buf, &ms[i])
			}
			io.Discard.Write(buf)
			bus.pub.finish(ms, &bus.pub.published)
		}
	}
}
