//go:build unix

package eio

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
)

// drip is a connection from which at most some bytes can be read in a tenth of a second.
type drip struct {
	net.Conn
	tenth atomic.Int64 // 0: as many as there are
}

func (d *drip) Read(b []byte) (int, error) {
	if n := d.tenth.Load(); n > 0 {
		time.Sleep(100 * time.Millisecond) // the pace of the client
		b = b[:min(int64(len(b)), n)]
	}
	return d.Conn.Read(b)
}

// dialDrip connects to the server. A receive buffer of 0 bytes is the system's default.
func (f *fixture) dialDrip(rate, buffer int) *drip {
	f.t.Helper()
	d := net.Dialer{Control: func(_, _ string, c syscall.RawConn) (err error) {
		if buffer > 0 {
			_ = c.Control(func(fd uintptr) {
				err = syscall.SetsockoptInt(int(fd), syscall.SOL_SOCKET, syscall.SO_RCVBUF, buffer)
			})
		}
		return err
	}}
	nc, err := d.Dial("tcp", f.http.Listener.Addr().String())
	if err != nil {
		f.t.Fatal(err)
	}
	f.t.Cleanup(func() { nc.Close() })
	c := &drip{Conn: nc}
	c.tenth.Store(int64(rate / 10))
	return c
}

// steady has heartbeats that nobody answers in time who has megabytes to read before, and less patience than the
// default. A client that reads 2 KB/s through a small buffer shows it every three seconds.
var steady = Config{
	StallTimeout: time.Second, UnreadTimeout: 9 * time.Second, QueueHard: 100 << 20,
	PingInterval: time.Second, PingTimeout: time.Second,
}

// steadyTime is how long a client has to survive: longer than any of its deadlines.
const steadyTime = 12 * time.Second

// A client that reads slowly and steadily is not cut, and one that reads nothing is. All are tried at the same time.
func TestSteadyReaders(t *testing.T) {
	t.Parallel()
	var clients sync.WaitGroup
	for _, c := range []steadyReader{
		{rate: 2_000, buffer: 4096},
		{rate: 20_000, buffer: 4096},
		{rate: 200_000},
		{rate: 2_000, buffer: 4096, tls: true},
		{rate: 200_000, tls: true},
		{rate: 0},
		{rate: 0, tls: true},
	} {
		c.start(t)
		clients.Go(func() {
			if err := c.run(); err != nil {
				t.Errorf("%d B/s, TLS %t: %v", c.rate, c.tls, err)
			}
		})
	}
	for _, rate := range []int{20_000, 200_000} {
		// A tenth of the default, at which 2 KB/s do.
		f := newFixture(t, plain, Config{PingInterval: 2500 * time.Millisecond, PingTimeout: 2 * time.Second})
		query, o := f.openPolling()
		clients.Go(func() {
			if err := pollSteadily(f, query, o, rate); err != nil {
				t.Errorf("polling at %d B/s: %v", rate, err)
			}
		})
	}
	clients.Wait()
}

// steadyReader is a WebSocket client.
type steadyReader struct {
	rate, buffer int // bytes per second, bytes
	tls          bool

	line *drip
	peer *peer
	*owner
}

// start connects it, and queues more for it than the kernel takes.
func (c *steadyReader) start(t *testing.T) {
	d := drivers[0]
	if c.tls {
		d = drivers[2]
	}
	f := newFixture(t, d, steady)
	c.line = f.dialDrip(0, c.buffer)
	var nc net.Conn = c.line
	if c.tls {
		nc = tls.Client(c.line, &tls.Config{InsecureSkipVerify: true}) // the certificate is httptest's
	}
	var err error
	if c.peer, _, err = f.handshake(nc, "EIO=4&transport=websocket"); err != nil {
		t.Fatal(err)
	}
	c.peer.expectOpen()
	_ = nc.SetReadDeadline(time.Time{})
	c.owner = f.owner()
	c.line.tenth.Store(int64(c.rate / 10))
	c.clog(steadyMessages)
}

const steadyMessages = 10

func (c *steadyReader) run() error {
	if c.rate == 0 {
		select {
		case got := <-c.closed:
			if got.err != ErrSlowConsumer {
				return fmt.Errorf("closed: %+v", got)
			}
			return nil
		case <-time.After(2 * steadyTime):
			return errors.New("not cut")
		}
	}
	whole := make(chan error, 1)
	go func() {
		_, err := io.CopyN(io.Discard, c.peer.br, steadyMessages<<20)
		whole <- err
	}()
	select {
	case got := <-c.closed:
		return fmt.Errorf("closed: %+v", got)
	case err := <-whole:
		return fmt.Errorf("all has been read, or %v", err)
	case <-time.After(steadyTime):
	}
	c.line.tenth.Store(0)
	select {
	case err := <-whole:
		return err
	case <-time.After(6 * patience):
		return errors.New("not all is read")
	}
}

// pollSteadily polls for steadyTime, and answers pings. It has more to read than it can.
func pollSteadily(f *fixture, query string, o *owner, rate int) error {
	kilobyte := TextFrame([]byte(strings.Repeat("x", 1000)))
	for range 4 * rate / 100 {
		o.Send(kilobyte)
	}
	client := &http.Client{Transport: &http.Transport{
		DialContext: func(context.Context, string, string) (net.Conn, error) { return f.dialDrip(rate, 4096), nil },
	}}
	defer client.CloseIdleConnections()
	ctx, cancel := context.WithTimeout(context.Background(), steadyTime)
	defer cancel()
	for polls := 0; ; polls++ {
		body, err := poll(ctx, client, f.url(query))
		switch {
		case ctx.Err() != nil && (o.State() != Open || o.Queued() == 0):
			return fmt.Errorf("the session is %v, and %d bytes wait", o.State(), o.Queued())
		case ctx.Err() != nil:
			return nil
		case err != nil:
			return fmt.Errorf("poll %d: %w", polls, err)
		}
		if strings.Contains("\x1e"+body+"\x1e", "\x1e2\x1e") {
			if _, err := f.try(ctx, http.MethodPost, query, "3"); err != nil && ctx.Err() == nil {
				return err
			}
		}
	}
}

func poll(ctx context.Context, client *http.Client, url string) (string, error) {
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return "", err
	}
	resp, err := client.Do(r)
	if err != nil {
		return "", err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err == nil && resp.StatusCode != http.StatusOK {
		err = fmt.Errorf("%d %.100q", resp.StatusCode, body)
	}
	return string(body), err
}

// Every deadline for slow peers has a default.
func TestStallDefaults(t *testing.T) {
	cfg, err := Config{}.withDefaults()
	if err != nil || cfg.StallTimeout != 10*time.Second || cfg.UnreadTimeout != 90*time.Second {
		t.Errorf("%v and %v, %v", cfg.StallTimeout, cfg.UnreadTimeout, err)
	}
}

// A client that was cut off from the network is not waited for as one whose system answers.
func TestStallOfTheGone(t *testing.T) {
	s := &Server{epoch: time.Now(), cfg: Config{StallTimeout: time.Hour, UnreadTimeout: time.Minute, QueueBudget: 2}}
	a, b := net.Pipe() // of which the kernel knows nothing
	defer a.Close()
	defer b.Close()
	w := stallWatch{srv: s}
	for _, c := range []struct {
		ago  time.Duration
		used int64 // of the budget
		over bool
	}{
		{ago: 0},
		{ago: 59 * time.Second},
		{ago: 61 * time.Second, over: true},
		{ago: 59 * time.Second, used: 2},
	} {
		s.budget.Store(c.used)
		w.since = s.now() - c.ago
		if w.over(a) != c.over {
			t.Errorf("over is %t, %v after the peer took something, with %d of the budget used", !c.over, c.ago, c.used)
		}
	}
	s.cfg.StallTimeout = time.Second
	if w.since = s.now() - 2*time.Second; !w.over(a) {
		t.Error("waits longer than StallTimeout, while memory is short")
	}
}

// What a poll is answered with grows while the client is quick, and shrinks while it is slow.
func TestShareOfAPoll(t *testing.T) {
	f := newFixture(t, plain, Config{})
	query, o := f.openPolling()
	kilobyte := TextFrame([]byte(strings.Repeat("x", 1000)))
	for range 2000 {
		o.Send(kilobyte)
	}
	late := func(d time.Duration) {
		o.mu.Lock()
		defer o.mu.Unlock()
		o.progress = f.eio.now() - d
	}
	for i, c := range []struct {
		ago  time.Duration
		want int // KiB, about
	}{
		{0, 64}, {0, 128}, {0, 256}, {0, 256}, {4 * time.Second, 256}, {9 * time.Second, 128}, {time.Minute, 64},
		{0, 128},
	} {
		late(c.ago)
		if got := len(f.get(query).body) >> 10; got < c.want*9/10 || got > c.want*11/10 {
			t.Errorf("poll %d has %d KiB, want %d", i, got, c.want)
		}
	}
}

// A ping is answered late by who has to read much before. A client that comes back for the rest lives, and one that
// doesn't is lost.
func TestHeartbeatOfSlowPolling(t *testing.T) {
	f := newFixture(t, plain, Config{}) // 45 s for 64 KiB
	query, o := f.openPolling()
	o.Send(TextFrame([]byte(strings.Repeat("x", 64<<10))))
	f.get(query)
	lost := func(ago time.Duration) {
		o.mu.Lock()
		o.progress = f.eio.now() - ago
		o.mu.Unlock()
		f.eio.beats.lost(&o.Conn)
	}
	if lost(40 * time.Second); o.State() != Open {
		t.Fatal("lost while it may be reading")
	}
	lost(time.Minute)
	o.expectClose(ReasonPingTimeout)
}
