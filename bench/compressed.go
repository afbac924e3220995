//go:build linux

package main

import (
	"bufio"
	"bytes"
	"encoding/base64"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"strings"
	"sync/atomic"
	"time"

	"github.com/klauspost/compress/flate"

	"github.com/architus/guildcast/internal/test/sioclient"
)

// How much is compressed, and for how many.
const (
	inflaters     = 300
	warmingEvents = 40 // after which the windows of both servers are of use
	shrunkEvents  = 200
)

// compressedCases compare events of some 300 bytes that resemble each other: Node.js compresses them for each client in
// a context of the client's own, we once for all in a Group.
func compressedCases() []benchCase {
	env := []string{"DEFLATE=1"}
	number := func(pick func(shrunk) float64) func(*server, string) (float64, error) {
		return func(s *server, _ string) (float64, error) {
			r, err := compressed(s)
			return pick(r), err
		}
	}
	return []benchCase{
		{name: "compressed: bytes", unit: "B", target: "<= 1.5", env: env,
			run: number(func(r shrunk) float64 { return r.bytes }), ok: atMost(1.5)},
		{name: "compressed: share of the bytes", unit: "", target: "<= 0.25", env: env,
			run: number(func(r shrunk) float64 { return r.share }),
			ok:  func(_, ours float64) bool { return ours <= 0.25 }},
		{name: "compressed: CPU", unit: "µs", target: "<= 0.2", env: env,
			run: number(func(r shrunk) float64 { return r.cpu }), ok: atMost(0.2)},
		{name: "compressed: memory", unit: "KB", target: "<= 0.3", env: env,
			run: number(func(r shrunk) float64 { return r.memory }), ok: atMost(0.3)},
	}
}

// shrunk is what events took.
type shrunk struct {
	bytes  float64 // on the wire, for each event and client
	share  float64 // of what they are without compression
	cpu    float64 // of the server in µs, for each event and client
	memory float64 // of the server in KB, for each connection
}

// compressed has clients inflate and check events, and measures the server.
func compressed(s *server) (r shrunk, err error) {
	if err := s.gc(); err != nil {
		return r, err
	}
	before := s.rss()
	sender, err := sioclient.Dial(s.addr, sioclient.Options{})
	if err != nil {
		return r, err
	}
	defer sender.Close()
	a := &inflating{arrived: make(chan struct{}, 1), joined: make(chan struct{}, inflaters)}
	defer a.close()
	for range inflaters {
		if err := a.connect(s.addr); err != nil {
			return r, err
		}
	}
	rng := rand.New(rand.NewPCG(1, 1))
	plain := 0
	send := func(n int) error {
		plain = 0
		a.want.Add(int64(n * inflaters))
		for range n {
			e := logAction(rng)
			plain += len(e) + len(`42["e",]`) + 4
			if err := sender.Send(`42["say",` + e + `]`); err != nil {
				return err
			}
			time.Sleep(5 * time.Millisecond)
		}
		return a.wait()
	}
	if err := send(warmingEvents); err != nil {
		return r, err
	}
	a.bytes.Store(0)
	r.cpu, err = s.cpu(func() error { return send(shrunkEvents) })
	if err != nil {
		return r, err
	}
	if err := s.gc(); err != nil {
		return r, err
	}
	const deliveries = inflaters * shrunkEvents
	r.cpu /= deliveries
	r.bytes = float64(a.bytes.Load()) / deliveries
	r.share = r.bytes * shrunkEvents / float64(plain)
	r.memory = (s.rss() - before) / 1024 / inflaters
	return r, nil
}

// logAction is a log action of the demo's kind.
func logAction(rng *rand.Rand) string {
	words := strings.Fields("joined the server and wrote hello to everybody in the general channel again today")
	var content []string
	for range 4 + rng.IntN(12) {
		content = append(content, words[rng.IntN(len(words))])
	}
	id := 1_300_000_000_000_000_000 + rng.Int64N(1<<50)
	return fmt.Sprintf(`{"action_number":%d,"agent_id":"21403713447722%04d","data":{"channel_id":"448546825532%06d",`+
		`"content":%q,"message_id":"%d"},"guild_id":%q,"id":"%d","private":false,"subject_id":"21403713447722%04d",`+
		`"timestamp":%d}`, 3000+rng.IntN(4), rng.IntN(50), rng.IntN(9), strings.Join(content, " "),
		id-rng.Int64N(1<<20), benchGuild, id, rng.IntN(50), 1_790_000_000_000+rng.Int64N(1<<30))
}

// inflating are clients that inflate what they get, each with a window of its own.
type inflating struct {
	conns   []net.Conn
	joined  chan struct{}
	arrived chan struct{} // has a value when something has arrived
	bytes   atomic.Int64  // of events, with their headers
	got     atomic.Int64
	want    atomic.Int64
	failed  atomic.Pointer[error]
}

func (a *inflating) close() {
	for _, nc := range a.conns {
		nc.Close()
	}
}

// wait waits until all events have arrived.
func (a *inflating) wait() error {
	deadline := time.After(60 * time.Second)
	for a.got.Load() < a.want.Load() {
		if err := a.failed.Load(); err != nil {
			return *err
		}
		select {
		case <-a.arrived:
		case <-deadline:
			return fmt.Errorf("%w: %d of %d events", errTimeout, a.got.Load(), a.want.Load())
		}
	}
	return nil
}

func (a *inflating) signal() {
	select {
	case a.arrived <- struct{}{}:
	default:
	}
}

// connect connects one client and has it join.
func (a *inflating) connect(addr string) error {
	nc, err := net.Dial("tcp", addr)
	if err != nil {
		return err
	}
	a.conns = append(a.conns, nc)
	_, err = fmt.Fprintf(nc, "GET /socket.io/?EIO=4&transport=websocket HTTP/1.1\r\nHost: %s\r\nUpgrade: websocket\r\n"+
		"Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: %s\r\n"+
		"Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits\r\n\r\n",
		addr, base64.StdEncoding.EncodeToString(make([]byte, 16)))
	if err != nil {
		return err
	}
	br := bufio.NewReader(nc)
	res, err := http.ReadResponse(br, nil)
	if err != nil {
		return err
	}
	if !strings.HasPrefix(res.Header.Get("Sec-WebSocket-Extensions"), "permessage-deflate") {
		return fmt.Errorf("%s, extensions %q", res.Status, res.Header.Get("Sec-WebSocket-Extensions"))
	}
	go a.read(nc, br)
	select {
	case <-a.joined:
		return nil
	case <-time.After(30 * time.Second):
		return errTimeout
	}
}

// read handles what one client gets.
func (a *inflating) read(nc net.Conn, br *bufio.Reader) {
	var w window
	for {
		p, size, err := w.message(br)
		switch {
		case err != nil:
			if a.got.Load() < a.want.Load() {
				a.failed.Store(&err)
				a.signal()
			}
			return
		case p[0] == '0':
			writeText(nc, "40")
		case p[0] == '2':
			writeText(nc, "3")
		case bytes.HasPrefix(p, []byte("40")):
			writeText(nc, `420["join","room"]`)
		case bytes.HasPrefix(p, []byte("43")):
			a.joined <- struct{}{}
		case bytes.HasPrefix(p, []byte(`42["e",{`)) && bytes.HasSuffix(p, []byte("}]")):
			a.bytes.Add(int64(size))
			a.got.Add(1)
			a.signal()
		default:
			err := fmt.Errorf("unexpected %.80q", p)
			a.failed.Store(&err)
			a.signal()
			return
		}
	}
}

// window is what a client has inflated last.
type window struct {
	last   []byte
	reader io.ReadCloser
}

// message reads a message and returns it with the size of its frame.
func (w *window) message(br *bufio.Reader) (p []byte, size int, err error) {
	var h [10]byte
	if _, err := io.ReadFull(br, h[:2]); err != nil {
		return nil, 0, err
	}
	n, more := int(h[1]), 0
	if n >= 126 {
		more = 2 + 6*(n-126)
		if _, err := io.ReadFull(br, h[2:2+more]); err != nil {
			return nil, 0, err
		}
		n = 0
		for _, b := range h[2 : 2+more] {
			n = n<<8 | int(b)
		}
	}
	p = make([]byte, n)
	if _, err = io.ReadFull(br, p); err == nil && h[0]&0x40 != 0 {
		p, err = w.inflate(p)
	}
	if err == nil && len(p) == 0 {
		err = fmt.Errorf("empty frame %x", h[:2])
	}
	return p, 2 + more + n, err
}

func (w *window) inflate(p []byte) ([]byte, error) {
	src := io.MultiReader(bytes.NewReader(p), strings.NewReader("\x00\x00\xff\xff\x01\x00\x00\xff\xff"))
	if w.reader == nil {
		w.reader = flate.NewReader(src)
	} else if err := w.reader.(flate.Resetter).Reset(src, w.last); err != nil {
		return nil, err
	}
	out, err := io.ReadAll(w.reader)
	w.last = append(w.last, out...)
	if over := len(w.last) - 32<<10; over > 0 {
		w.last = append(w.last[:0], w.last[over:]...)
	}
	return out, err
}

// writeText writes a short masked text frame, with a mask of zeros.
func writeText(nc net.Conn, text string) {
	_, _ = nc.Write(append([]byte{0x81, 0x80 | byte(len(text)), 0, 0, 0, 0}, text...)) // reading fails if this does
}
