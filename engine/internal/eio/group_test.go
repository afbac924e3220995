package eio

import (
	"bytes"
	"compress/flate"
	"fmt"
	"io"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/architus/guildcast/internal/test/race"
)

// window is what a peer with context takeover keeps: the last 32 KiB that it has inflated.
type window []byte

// inflate inflates the data of a message as a browser does.
func (w *window) inflate(data []byte) ([]byte, error) {
	src := io.MultiReader(bytes.NewReader(data), strings.NewReader("\x00\x00\xff\xff\x01\x00\x00\xff\xff"))
	p, err := io.ReadAll(flate.NewReaderDict(src, *w))
	*w = append(*w, p...)
	*w = (*w)[max(0, len(*w)-32<<10):]
	return p, err
}

// receiver is a connection of which a test writes what is queued when it wants to, and the peer behind it.
type receiver struct {
	t      *testing.T
	c      *Conn
	ws     *wsConn // nil while it polls
	group  int
	window window
	stream []byte   // written, and not parsed
	want   []string // queued, and not received yet
	bytes  int      // received, with headers
}

func newReceiver(t *testing.T, s *Server) *receiver {
	r := &receiver{t: t, c: &Conn{srv: s, protocol: 4, id: "test", poll: &polling{}}}
	r.c.state.Store(uint32(Open))
	return r
}

// upgrade makes the session a WebSocket's.
func (r *receiver) upgrade(shares bool) {
	r.ws = &wsConn{srv: r.c.srv, conn: r.c, compress: r.c.srv.compress, shares: shares, claimed: true}
	r.c.ws = r.ws
}

func (r *receiver) send(f *Frame) {
	kind := "text:"
	if f.binary {
		kind = "binary:"
	}
	r.want = append(r.want, kind+string(f.wire[f.payload:]))
	if status := r.c.Send(f); status == Dropped {
		r.t.Fatal("dropped")
	}
}

// read writes about n bytes of what is queued, and has the peer check what it gets.
func (r *receiver) read(n int) {
	if r.ws == nil {
		return
	}
	for n > 0 {
		r.c.mu.Lock()
		more := r.ws.gatherLocked()
		r.ws.claimed = true // so that nobody else writes
		r.c.mu.Unlock()
		if !more {
			return
		}
		b := r.ws.fill(make([]byte, min(n, 4096)))
		n -= len(b)
		r.bytes += len(b)
		r.stream = append(r.stream, b...)
		done := r.ws.advance(len(b))
		r.c.mu.Lock()
		r.c.countLocked(-done)
		r.c.mu.Unlock()
		r.parse()
	}
}

// parse checks the frames that are complete.
func (r *receiver) parse() {
	for {
		b := r.stream
		head := 2
		if len(b) >= 2 && b[1] >= 126 {
			head += 2 + 6*int(b[1]-126)
		}
		if len(b) < head {
			return
		}
		n := int(b[1])
		if head > 2 {
			n = 0
			for _, digit := range b[2:head] {
				n = n<<8 | int(digit)
			}
		}
		if len(b) < head+n {
			return
		}
		p := b[head : head+n]
		if b[0]&0x40 != 0 {
			var err error
			if p, err = r.window.inflate(p); err != nil {
				r.t.Fatalf("inflate: %v", err)
			}
		}
		kind := map[byte]string{1: "text:", 2: "binary:"}[b[0]&0xf]
		if len(r.want) == 0 || kind+string(p) != r.want[0] {
			r.t.Fatalf("got %s%.80q, want %.80q", kind, p, r.want)
		}
		r.want = r.want[1:]
		r.stream = b[head+n:]
	}
}

// eventText is a guild event of about n bytes that resembles others.
func eventText(rng *rand.Rand, n int) []byte {
	words := strings.Fields("role channel member joined the server and wrote hello to everybody in general again")
	var content strings.Builder
	for content.Len() < n-200 {
		content.WriteString(words[rng.IntN(len(words))] + " ")
	}
	return fmt.Appendf(nil, `2["log_other",{"id":"%d","guild_id":"607637793107345431","action_number":%d,"private":false,`+
		`"agent_id":"2140371344772300%02d","data":{"channel_id":"4485468258325%05d","content":%q}}]`,
		rng.Int64N(1<<60), 3000+rng.IntN(4), rng.IntN(100), rng.IntN(100), content.String())
}

// noise returns n bytes of text that does not compress.
func noise(rng *rand.Rand, n int) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(rng.Uint32())
	}
	return b
}

func newGroupServer(t *testing.T) *Server {
	s, err := NewServer(Config{Deflate: &Compression{Threshold: 1000}, ContextTakeover: true, QueueHard: 1 << 30}, nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Shutdown(t.Context()) })
	return s
}

// Whatever happens between the messages of groups, every peer inflates what was sent to it.
func TestGroupsProperty(t *testing.T) {
	for seed := range race.Rounds[uint64](12, 4) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			t.Parallel()
			world := &groupWorld{t: t, srv: newGroupServer(t), rng: rand.New(rand.NewPCG(seed, 1))}
			for range 1000 {
				world.step()
			}
			for _, r := range world.all {
				if r.ws == nil {
					r.upgrade(true)
				}
				r.read(1 << 30)
				if len(r.want) > 0 || len(r.stream) > 0 {
					t.Fatalf("%d messages have not arrived", len(r.want))
				}
			}
			if world.full == 0 || world.alone == 0 || world.broke == 0 {
				t.Errorf("%d messages with the window, %d alone, %d windows lost: want some of each",
					world.full, world.alone, world.broke)
			}
		})
	}
}

// groupWorld is some connections in some groups.
type groupWorld struct {
	t                  *testing.T
	srv                *Server
	rng                *rand.Rand
	groups             [3]Group
	all                []*receiver
	full, alone, broke int
}

func (w *groupWorld) step() {
	switch n := w.rng.IntN(100); {
	case n < 4 && len(w.all) < 20:
		r := newReceiver(w.t, w.srv)
		r.group = w.rng.IntN(len(w.groups))
		if w.rng.IntN(4) > 0 {
			r.upgrade(w.rng.IntN(6) > 0)
		}
		w.all = append(w.all, r)
	case len(w.all) == 0:
	case n < 55:
		w.broadcast(w.rng.IntN(len(w.groups)))
	case n < 60: // deliveries that overtake each other
		g := w.rng.IntN(len(w.groups))
		first, second := w.groups[g].Share(w.message()), w.groups[g].Share(w.message())
		for _, r := range w.members(g) {
			list := []*Frame{first, second}
			if w.rng.IntN(3) == 0 {
				slices.Reverse(list)
			}
			for _, f := range list {
				w.send(r, f)
			}
		}
	case n < 63: // another class
		w.any().group = w.rng.IntN(len(w.groups))
	case n < 64: // forgotten for others
		w.groups[w.rng.IntN(len(w.groups))] = Group{}
	case n < 66:
		if r := w.any(); r.ws == nil {
			r.upgrade(true)
		}
	case n < 76:
		r := w.any()
		before := r.c.grouped
		r.send(w.message())
		if before != 0 && r.c.grouped == 0 {
			w.broke++
		}
	case n < 78: // from a room
		f := w.message()
		for _, r := range w.all {
			r.send(f)
		}
	default:
		w.any().read(w.rng.IntN(6000))
	}
}

// broadcast sends a message to a group, but leaves it out for some.
func (w *groupWorld) broadcast(g int) {
	f := w.groups[g].Share(w.message())
	for _, r := range w.members(g) {
		if w.rng.IntN(40) > 0 {
			w.send(r, f)
		}
	}
}

// send sends a frame of a group, and counts in which form.
func (w *groupWorld) send(r *receiver, f *Frame) {
	before := r.c.queued
	r.send(f)
	switch {
	case f.shared == nil || !r.c.Shares():
	case r.c.queued-before == f.shared.full.counted():
		w.full++
	default:
		w.alone++
	}
}

func (w *groupWorld) members(g int) (list []*receiver) {
	for _, r := range w.all {
		if r.group == g {
			list = append(list, r)
		}
	}
	return list
}

func (w *groupWorld) any() *receiver { return w.all[w.rng.IntN(len(w.all))] }

// message returns a message of any kind.
func (w *groupWorld) message() *Frame {
	switch n := w.rng.IntN(40); {
	case n < 28:
		return TextFrame(eventText(w.rng, 300))
	case n < 32:
		return TextFrame(eventText(w.rng, 2000))
	case n < 34:
		return TextFrame(eventText(w.rng, 20_000+w.rng.IntN(60_000)))
	case n < 35:
		return TextFrame(noise(w.rng, 1+w.rng.IntN(20_000)))
	case n < 36:
		return TextFrame(nil)
	case n < 37:
		return TextFrame([]byte("2[\"e\"]"))
	case n < 38:
		return BinaryFrame(eventText(w.rng, 3000))
	default:
		return TextFrame(eventText(w.rng, 1500)).Uncompressed()
	}
}

// Events shrink to about a fifth for all who have the window, which the others have soon.
func TestGroupRatio(t *testing.T) {
	s := newGroupServer(t)
	rng := rand.New(rand.NewPCG(1, 2))
	var g Group
	early, late := newReceiver(t, s), newReceiver(t, s)
	early.upgrade(true)
	late.upgrade(true)
	plain := 0
	broadcast := func(n int, to ...*receiver) {
		for _, r := range to {
			r.bytes = 0
		}
		plain = 0
		for range n {
			f := g.Share(TextFrame(eventText(rng, 300)))
			plain += f.Len()
			for _, r := range to {
				r.send(f)
				r.send(TextFrame([]byte("2[\"private\"]")))
				r.read(1 << 30)
				r.bytes -= len("\x81\x0d42[\"private\"]")
			}
		}
	}
	ratio := func(r *receiver) float64 { return float64(r.bytes) / float64(plain) }
	broadcast(50, early)
	broadcast(40, early, late)
	if a, b := ratio(early), ratio(late); a > 0.35 || b < 0.4 {
		t.Errorf("ratio %.3f with the window, %.3f for who joins", a, b)
	}
	broadcast(100, early, late)
	t.Logf("%d bytes, ratio %.3f", plain/100, ratio(early))
	if a, b := ratio(early), ratio(late); a > 0.35 || a != b {
		t.Errorf("ratio %.3f, and %.3f for who joined: want the same", a, b)
	}
	late.send(TextFrame(eventText(rng, 2*groupBreak))) // compressed alone, which takes the window away
	broadcast(5, early, late)
	if a, b := ratio(early), ratio(late); a > 0.35 || b < 0.4 {
		t.Errorf("ratio %.3f with the window, %.3f for who has lost it", a, b)
	}
}

// A frame is compressed for each group once, and alone once for all groups.
func TestGroupFormsAreShared(t *testing.T) {
	s := newGroupServer(t)
	f := TextFrame([]byte(strings.Repeat("hello ", 50)))
	var a, b Group
	x, y := a.Share(f), b.Share(f)
	one, two := x.shared.alone.bytes(4, s.compress), y.shared.alone.bytes(4, s.compress)
	if &one[0] != &two[0] || one[0]&0x40 == 0 {
		t.Error("compressed alone twice, or not at all")
	}
	if x.bytes(4, nil)[0] != 0x81 || &x.bytes(4, nil)[2] != &f.bytes(4, nil)[2] {
		t.Error("a peer without compression gets another frame")
	}
}

// With real connections, senders of several goroutines, and sessions that upgrade.
func TestGroupOnConnections(t *testing.T) {
	overDrivers(t, func(t *testing.T, d driver) {
		f := newFixture(t, d, Config{Deflate: &Compression{Threshold: 1000}, ContextTakeover: true})
		const offer = "permessage-deflate; client_max_window_bits"
		var groups [2]Group
		var senders sync.WaitGroup
		var mu sync.Mutex // guards owners
		var owners []*owner
		stop := make(chan struct{})
		for i := range groups {
			senders.Go(func() {
				rng := rand.New(rand.NewPCG(1, uint64(i)))
				for n := 0; ; n++ {
					select {
					case <-stop:
						return
					default:
					}
					event := groups[i].Share(TextFrame(fmt.Appendf(nil, "%d %d %s", i, n, eventText(rng, 300))))
					mu.Lock()
					to := slices.Clone(owners)
					mu.Unlock()
					for j, o := range to {
						if j%len(groups) == i {
							o.Send(event)
						}
					}
					if n%20 == 0 && len(to) > 0 {
						to[rng.IntN(len(to))].Send(TextFrame(eventText(rng, 1500+rng.IntN(10_000))))
					}
					Pace(connsOf(to), patience, nil)
				}
			})
		}
		var readers sync.WaitGroup
		for i := range 6 {
			p := f.dial("EIO=4&transport=websocket", "Sec-WebSocket-Extensions", offer)
			p.window = new(window)
			p.expectOpen()
			mu.Lock()
			owners = append(owners, f.owner())
			mu.Unlock()
			readers.Go(func() {
				last := -1
				for seen := 0; seen < 300; {
					_, b, err := p.read()
					if err != nil {
						t.Errorf("peer %d: %v", i, err)
						return
					}
					var g, n int
					if _, err := fmt.Sscanf(string(b), "4%d %d ", &g, &n); err != nil {
						continue // a private one
					}
					if g != i%len(groups) || last >= 0 && n != last+1 {
						t.Errorf("peer %d: event %d of group %d after event %d", i, n, g, last)
						return
					}
					last = n
					seen++
				}
				_ = p.nc.Close()
			})
		}
		readers.Wait()
		close(stop)
		senders.Wait()
	})
}

func connsOf(owners []*owner) (conns []*Conn) {
	for _, o := range owners {
		conns = append(conns, &o.Conn)
	}
	return conns
}

// BenchmarkQueue queues one event on 100 connections.
func BenchmarkQueue(b *testing.B) {
	for name, cfg := range map[string]Config{
		"off": {}, "shared": {Deflate: &Compression{}, ContextTakeover: true},
	} {
		b.Run(name, func(b *testing.B) {
			s, err := NewServer(cfg, nil)
			if err != nil {
				b.Fatal(err)
			}
			defer func() { _ = s.Shutdown(b.Context()) }()
			var conns []*Conn
			for range 100 {
				c := &Conn{srv: s, protocol: 4}
				c.ws = &wsConn{srv: s, conn: c, compress: s.compress, shares: cfg.ContextTakeover, claimed: true}
				c.state.Store(uint32(Open))
				conns = append(conns, c)
			}
			var g Group
			rng := rand.New(rand.NewPCG(1, 1))
			b.ReportAllocs()
			for b.Loop() {
				f := TextFrame(eventText(rng, 300))
				if cfg.ContextTakeover {
					f = g.Share(f)
				}
				for _, c := range conns {
					c.SendLossy(ShedWhenBehind, f)
					c.countLocked(-c.q.pop(&s.chunks).counted())
				}
			}
		})
	}
}
