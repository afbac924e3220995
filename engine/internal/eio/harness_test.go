package eio

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/architus/guildcast/engine/internal/ws"
	"github.com/architus/guildcast/internal/test/wait"
)

func TestMain(m *testing.M) {
	wait.Parallel()
	goleak.VerifyTestMain(m)
}

// patience is how long a test waits for what must come.
const patience = time.Minute

// everLonger calls try with a time that has to pass, and with twice the time if the machine was too busy to do before
// what has to be done before.
func everLonger(t *testing.T, from time.Duration, try func(d time.Duration) (inTime bool)) {
	t.Helper()
	for d := from; !try(d); d *= 2 {
		if d > patience/4 {
			t.Fatalf("not even %v were enough", d)
		}
	}
}

// driver is a way in which WebSockets are read.
type driver struct {
	name      string
	noPoller  bool
	transport func(http.Handler) *httptest.Server
}

var drivers = []driver{
	{name: "poller", transport: httptest.NewServer},
	{name: "reader", noPoller: true, transport: httptest.NewServer},
	{name: "tls", transport: httptest.NewTLSServer},
}

// overDrivers runs a test once for each driver.
func overDrivers(t *testing.T, test func(t *testing.T, d driver)) {
	for _, d := range drivers {
		t.Run(d.name, func(t *testing.T) { test(t, d) })
	}
}

// fixture is a server under test.
type fixture struct {
	t      *testing.T
	eio    *Server
	http   *httptest.Server
	owners chan *owner
	onOpen func(*owner)
	onMsg  func(o *owner, binary bool, data []byte)
	refuse error  // what accept returns
	early  []byte // what WebSocket clients send right behind their request
}

// owner records what a session tells it.
type owner struct {
	Conn
	f         *fixture
	handshake Handshake
	messages  chan string // "text" or "b:binary"
	closed    chan closing
	busy      atomic.Int32
	closes    atomic.Int32
	received  atomic.Int64 // what OnReceive was told
}

type closing struct {
	reason string
	err    error
}

func (o *owner) OnOpen(*Conn) {
	if o.f.onOpen != nil {
		o.f.onOpen(o)
	}
	o.f.owners <- o
}

func (o *owner) OnInflate(*Conn, int) error { return nil }

func (o *owner) OnReceive(_ *Conn, n int) error {
	if o.received.Add(int64(n)) < 0 {
		o.f.t.Error("more was given back than was held")
	}
	return nil
}

func (o *owner) OnMessage(_ *Conn, m Packet) {
	binary, data := m.Binary, m.Data
	if o.busy.Add(1) != 1 || o.closes.Load() != 0 {
		o.f.t.Error("OnMessage beside another call, or after OnClose")
	}
	defer o.busy.Add(-1)
	if o.f.onMsg != nil {
		o.f.onMsg(o, binary, data)
		return
	}
	if binary {
		o.messages <- "b:" + string(data)
	} else {
		o.messages <- string(data)
	}
}

func (o *owner) OnClose(_ *Conn, reason string, err error) {
	if o.busy.Load() != 0 || o.closes.Add(1) != 1 {
		o.f.t.Error("OnClose beside OnMessage, or twice")
	}
	o.closed <- closing{reason, err}
}

// echo is an onMsg that sends back what came.
func echo(o *owner, binary bool, data []byte) {
	if binary {
		o.Send(BinaryFrame(data))
	} else {
		o.Send(TextFrame(data))
	}
}

// newFixture starts a server with cfg, which it may change. Cleanup shuts it down and waits for all of it.
func newFixture(t *testing.T, d driver, cfg Config, change ...func(*fixture)) *fixture {
	t.Helper()
	f := &fixture{t: t, owners: make(chan *owner, 10000)}
	for _, c := range change {
		c(f)
	}
	cfg.DisablePoller = d.noPoller
	s, err := NewServer(cfg, func(h *Handshake) (Handler, *Conn, error) {
		o := &owner{f: f, handshake: *h, messages: make(chan string, 10000), closed: make(chan closing, 2)}
		return o, &o.Conn, f.refuse
	})
	if err != nil {
		t.Fatal(err)
	}
	f.eio = s
	f.http = d.transport(s)
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		if err := s.Shutdown(ctx); err != nil {
			t.Errorf("shutdown: %v", err)
		}
		f.http.Client().CloseIdleConnections()
		f.http.Close()
		if n := s.budget.Load(); n != 0 {
			t.Errorf("budget is %d in the end", n)
		}
	})
	return f
}

func echoing(f *fixture) { f.onMsg = echo }

// owner returns the next session's owner.
func (f *fixture) owner() *owner {
	f.t.Helper()
	select {
	case o := <-f.owners:
		return o
	case <-time.After(patience):
		f.t.Fatal("no session")
		return nil
	}
}

func (o *owner) expectMessage(want string) {
	o.f.t.Helper()
	select {
	case got := <-o.messages:
		if got != want {
			o.f.t.Fatalf("message %.60q, want %.60q", got, want)
		}
	case <-time.After(patience):
		o.f.t.Fatalf("no message, want %.60q", want)
	}
}

func (o *owner) expectClose(reason string) error {
	o.f.t.Helper()
	select {
	case c := <-o.closed:
		if c.reason != reason {
			o.f.t.Fatalf("closed with %q (%v), want %q", c.reason, c.err, reason)
		}
		return c.err
	case <-time.After(patience):
		o.f.t.Fatalf("not closed, want %q", reason)
		return nil
	}
}

// ---- polling ----

type answer struct {
	status int
	body   string
	header http.Header
}

func (f *fixture) url(query string) string { return f.http.URL + "/engine.io/?" + query }

// do makes a request; body "" is a GET.
func (f *fixture) do(method, query, body string, header ...string) answer {
	f.t.Helper()
	a, err := f.try(context.Background(), method, query, body, header...)
	if err != nil {
		f.t.Fatal(err)
	}
	return a
}

func (f *fixture) try(ctx context.Context, method, query, body string, header ...string) (a answer, err error) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	r, err := http.NewRequestWithContext(ctx, method, f.url(query), strings.NewReader(body))
	if err != nil {
		return a, err
	}
	if method == "POST" {
		r.Header.Set("Content-Type", "text/plain;charset=UTF-8")
	}
	for i := 0; i+1 < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	resp, err := f.http.Client().Transport.RoundTrip(r)
	if err != nil {
		return a, err
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	return answer{resp.StatusCode, string(b), resp.Header}, err
}

func (f *fixture) get(query string) answer        { f.t.Helper(); return f.do("GET", query, "") }
func (f *fixture) post(query, body string) answer { f.t.Helper(); return f.do("POST", query, body) }

// goGet polls in the background.
func (f *fixture) goGet(query string) <-chan answer {
	out := make(chan answer, 1)
	go func() {
		a, err := f.try(context.Background(), "GET", query, "")
		if err != nil {
			a.body = err.Error()
		}
		out <- a
	}()
	return out
}

func (f *fixture) await(c <-chan answer) answer {
	f.t.Helper()
	select {
	case a := <-c:
		return a
	case <-time.After(patience):
		f.t.Fatal("no answer")
		return answer{}
	}
}

type openData struct {
	SID          string
	Upgrades     []string
	PingInterval int
	PingTimeout  int
	MaxPayload   int
}

// openPolling makes a polling session of revision 4 and returns the query for its further requests.
func (f *fixture) openPolling() (query string, o *owner) {
	f.t.Helper()
	a := f.get("EIO=4&transport=polling")
	d := f.parseOpen(a.body)
	return "EIO=4&transport=polling&sid=" + d.SID, f.owner()
}

func (f *fixture) parseOpen(packet string) (d openData) {
	f.t.Helper()
	if !strings.HasPrefix(packet, "0") {
		f.t.Fatalf("no open packet: %q", packet)
	}
	if err := json.Unmarshal([]byte(packet[1:]), &d); err != nil {
		f.t.Fatal(err)
	}
	return d
}

// waiting waits until a poll waits.
func (o *owner) waiting() {
	o.f.t.Helper()
	wait.Until(o.f.t, "a poll that waits", func() bool {
		o.mu.Lock()
		defer o.mu.Unlock()
		return o.poll.waiter != nil
	})
}

// ---- WebSocket ----

// peer is a WebSocket client that can break every rule.
type peer struct {
	t  *testing.T
	nc net.Conn
	br *bufio.Reader
	wm sync.Mutex

	inflate *ws.Limits // with permessage-deflate
	window  *window    // with context takeover
}

// dial connects, and fails the test unless the answer is 101.
func (f *fixture) dial(query string, header ...string) *peer {
	f.t.Helper()
	p, resp, err := f.tryDial(query, header...)
	if err != nil {
		f.t.Fatal(err)
	}
	if resp.StatusCode != 101 {
		f.t.Fatalf("status %d", resp.StatusCode)
	}
	return p
}

func (f *fixture) tryDial(query string, header ...string) (*peer, *http.Response, error) {
	u, err := url.Parse(f.http.URL)
	if err != nil {
		return nil, nil, err
	}
	var nc net.Conn
	if u.Scheme == "https" {
		nc, err = tls.Dial("tcp", u.Host, &tls.Config{InsecureSkipVerify: true}) // the certificate is httptest's
	} else {
		nc, err = net.Dial("tcp", u.Host)
	}
	if err != nil {
		return nil, nil, err
	}
	f.t.Cleanup(func() { nc.Close() })
	return f.handshake(nc, query, header...)
}

// handshake asks for a WebSocket on nc.
func (f *fixture) handshake(nc net.Conn, query string, header ...string) (*peer, *http.Response, error) {
	var b bytes.Buffer
	fmt.Fprintf(&b, "GET /engine.io/?%s HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"+
		"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n", query)
	for i := 0; i+1 < len(header); i += 2 {
		fmt.Fprintf(&b, "%s: %s\r\n", header[i], header[i+1])
	}
	b.WriteString("\r\n")
	b.Write(f.early)
	if _, err := nc.Write(b.Bytes()); err != nil {
		return nil, nil, err
	}
	p := &peer{t: f.t, nc: nc, br: bufio.NewReader(nc)}
	_ = nc.SetReadDeadline(time.Now().Add(patience))
	resp, err := http.ReadResponse(p.br, nil)
	return p, resp, err
}

// openWS makes a WebSocket session of revision 4.
func (f *fixture) openWS() (*peer, *owner) {
	f.t.Helper()
	p := f.dial("EIO=4&transport=websocket")
	p.expectOpen()
	return p, f.owner()
}

func (p *peer) expectOpen() (d openData) {
	p.t.Helper()
	op, b, err := p.read()
	if err != nil || op != ws.Text || len(b) == 0 || b[0] != '0' || json.Unmarshal(b[1:], &d) != nil {
		p.t.Fatalf("no open packet: %d %q %v", op, b, err)
	}
	return d
}

// frame builds a masked frame.
func maskedFrame(first byte, payload []byte) []byte {
	b := ws.AppendHeader(make([]byte, 0, len(payload)+14), 0, false, len(payload))
	b[0] = first
	b[1] |= 0x80
	b = append(b, 1, 2, 3, 4)
	for i, c := range payload {
		b = append(b, c^byte(i&3+1))
	}
	return b
}

func (p *peer) raw(b []byte) error {
	p.wm.Lock()
	defer p.wm.Unlock()
	_, err := p.nc.Write(b)
	return err
}

func (p *peer) text(s string) { p.must(p.raw(maskedFrame(0x81, []byte(s)))) }

func (p *peer) binary(b []byte) { p.must(p.raw(maskedFrame(0x82, b))) }

func (p *peer) must(err error) {
	p.t.Helper()
	if err != nil {
		p.t.Fatal(err)
	}
}

// read returns the next frame; pings of Engine.IO are answered and not returned.
func (p *peer) read() (op ws.Opcode, payload []byte, err error) {
	for {
		op, payload, err = p.readFrame()
		if err != nil || op != ws.Text || string(payload) != "2" {
			return op, payload, err
		}
		if err := p.raw(maskedFrame(0x81, []byte("3"))); err != nil {
			return 0, nil, err
		}
	}
}

func (p *peer) readFrame() (op ws.Opcode, payload []byte, err error) {
	_ = p.nc.SetReadDeadline(time.Now().Add(patience))
	var h [2]byte
	if _, err := io.ReadFull(p.br, h[:]); err != nil {
		return 0, nil, err
	}
	if h[0]&0x30 != 0 || h[0]&0x80 == 0 || h[1]&0x80 != 0 || h[0]&0x40 != 0 && p.inflate == nil && p.window == nil {
		return 0, nil, fmt.Errorf("frame header %x", h)
	}
	n := int(h[1])
	if n >= 126 {
		ext := make([]byte, 2+6*(n-126))
		if _, err := io.ReadFull(p.br, ext); err != nil {
			return 0, nil, err
		}
		n = 0
		for _, b := range ext {
			n = n<<8 | int(b)
		}
	}
	payload = make([]byte, n)
	if _, err := io.ReadFull(p.br, payload); err != nil {
		return 0, nil, err
	}
	if h[0]&0x40 != 0 && p.window != nil {
		payload, err = p.window.inflate(payload)
		return ws.Opcode(h[0] & 0xf), payload, err
	}
	if h[0]&0x40 != 0 { // the assembler inflates what a client sent, so make it a client's frame
		var a ws.Assembler
		m, ok, _, _, err := a.Next(maskedFrame(h[0], payload), p.inflate, nil)
		if err != nil || !ok {
			return 0, nil, errors.Join(errors.New("inflate"), err)
		}
		payload = m.Data
	}
	return ws.Opcode(h[0] & 0xf), payload, nil
}

func (p *peer) expect(op ws.Opcode, want string) {
	p.t.Helper()
	got, b, err := p.read()
	if err != nil || got != op || string(b) != want {
		p.t.Fatalf("frame %d %.60q %v, want %d %.60q", got, b, err, op, want)
	}
}

func (p *peer) expectText(want string) { p.t.Helper(); p.expect(ws.Text, want) }

// expectClose reads until the close frame, answers it, and wants the connection to end. code 0 is a frame without one.
func (p *peer) expectClose(code int) {
	p.t.Helper()
	for {
		op, b, err := p.read()
		if err != nil {
			p.t.Fatalf("no close frame: %v", err)
		}
		if op != ws.Close {
			continue
		}
		got := 0
		if len(b) >= 2 {
			got = int(binary.BigEndian.Uint16(b))
		}
		if got != code {
			p.t.Fatalf("close code %d (%q), want %d", got, b, code)
		}
		if len(b) > 2 && code != ws.CodeTryLater { // which Node never sends
			p.t.Errorf("close frame with the reason %q", b[2:])
		}
		_ = p.raw(maskedFrame(0x88, b)) // the server may be gone
		break
	}
	p.expectEnd()
}

// expectEnd wants the connection to end.
func (p *peer) expectEnd() {
	p.t.Helper()
	for {
		_, _, err := p.read()
		if err == nil {
			continue
		}
		var timeout net.Error
		if errors.As(err, &timeout) && timeout.Timeout() {
			p.t.Fatal("the connection does not end")
		}
		return
	}
}
