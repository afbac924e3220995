// Package sioclient is the Socket.IO 5 client of tests and benchmarks, over WebSocket. A [Conn] is as thin as a client
// can be, so that thousands of them fit and the server is what is measured; a [Client] is one for a test, which fails
// when what it waits for does not come. Both trust the server and are not for production.
package sioclient

import (
	"bufio"
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"sync"
	"time"
)

// Options of a connection. The zero value works.
type Options struct {
	Query     string // added to the handshake's URL as it is, begins with &
	Headers   string // added to the handshake as they are, each line ended by CR LF
	Namespace string // "" is the main one
	Auth      string // JSON object for the CONNECT packet; "" sends none
	// OnEvent gets what stands behind "42" (events) and "43" (acknowledgements), in order, on the reading goroutine; p
	// is valid during the call only.
	OnEvent func(p []byte)
	// OnPacket gets every Socket.IO packet, from the digit of its type on, with its attachments; OnEvent then gets
	// none.
	OnPacket func(p []byte, attachments [][]byte)
	// ReadBuffer is what the system keeps of what is not read, in bytes; 0 is up to megabytes.
	ReadBuffer int
	// Patience is how long a Client waits for what must come. Default 1 minute.
	Patience time.Duration
	// Dial makes the connection. Nil is by TCP.
	Dial func(ctx context.Context, addr string) (net.Conn, error)
	// OldProtocol is that of --compat, of which there are no schemas.
	OldProtocol bool
	// Stalled never reads once it is connected, as a browser on a lost network does.
	Stalled bool
}

// Conn is a connection to a namespace. One goroutine reads; Send may be called from any goroutine.
type Conn struct {
	nc   net.Conn
	sid  string
	opts Options

	mu      sync.Mutex    // guards writes
	release chan struct{} // closed by Close
	once    sync.Once     // closes release
	done    chan struct{} // closed when the reader has ended
}

// BrowserHeaders are what a browser sends beside what the handshake needs.
const BrowserHeaders = "User-Agent: Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/141.0.0.0 Safari/537.36\r\n" +
	"Accept-Language: en-US,en;q=0.9,de;q=0.8\r\nAccept-Encoding: gzip, deflate, br, zstd\r\nCache-Control: no-cache\r\nPragma: no-cache\r\n" +
	"Origin: http://dashboard.example\r\nCookie: session=0123456789abcdef0123456789abcdef; theme=dark; _ga=GA1.1.123456789.1700000000\r\n"

// Dial connects to a namespace of the server at addr (host:port) and returns once it is connected.
func Dial(addr string, opts Options) (*Conn, error) {
	dial := opts.Dial
	if dial == nil {
		dial = func(ctx context.Context, addr string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, "tcp", addr)
		}
	}
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	nc, err := dial(ctx, addr)
	if err != nil {
		return nil, err
	}
	if opts.ReadBuffer > 0 {
		_ = nc.(*net.TCPConn).SetReadBuffer(opts.ReadBuffer)
	}
	c := &Conn{nc: nc, opts: opts, release: make(chan struct{}), done: make(chan struct{})}
	r := bufio.NewReaderSize(nc, 4096)
	if err := c.handshake(addr, r); err != nil {
		nc.Close()
		return nil, fmt.Errorf("handshake: %w", err)
	}
	go c.read(r)
	return c, nil
}

func (c *Conn) handshake(addr string, r *bufio.Reader) error {
	_ = c.nc.SetDeadline(time.Now().Add(30 * time.Second))
	_, err := fmt.Fprintf(c.nc, "GET /socket.io/?EIO=4&transport=websocket%s HTTP/1.1\r\nHost: %s\r\nUpgrade: websocket\r\n"+
		"Connection: Upgrade\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n%s\r\n",
		c.opts.Query, addr, c.opts.Headers)
	if err != nil {
		return err
	}
	res, err := http.ReadResponse(r, nil)
	if err != nil {
		return err
	}
	if res.StatusCode != http.StatusSwitchingProtocols {
		return errors.New(res.Status)
	}
	open, _, err := readFrame(r, nil)
	if err != nil || len(open) == 0 || open[0] != '0' {
		return fmt.Errorf("open packet %q: %v", open, err)
	}
	connected := "40" + c.prefix()
	if err := c.Send(connected + c.opts.Auth); err != nil {
		return err
	}
	connected += `{"sid":"`
	connect, _, err := readFrame(r, nil)
	if err != nil || !bytes.HasPrefix(connect, []byte(connected)) {
		return fmt.Errorf("connect packet %q: %v", connect, err)
	}
	rest := connect[len(connected):]
	c.sid = string(rest[:bytes.IndexByte(rest, '"')])
	return c.nc.SetDeadline(time.Time{})
}

// prefix is what stands between the type of a packet and its data.
func (c *Conn) prefix() string {
	if c.opts.Namespace == "" {
		return ""
	}
	return c.opts.Namespace + ","
}

func (c *Conn) read(r *bufio.Reader) {
	defer close(c.done)
	defer c.nc.Close()
	if c.opts.Stalled {
		<-c.release
		return
	}
	buf := make([]byte, 0, 2048)
	for {
		p, _, err := readFrame(r, buf)
		if err != nil {
			return
		}
		buf = p[:0]
		switch {
		case c.opts.OnPacket != nil && len(p) > 1 && p[0] == '4':
			attachments, err := readAttachments(r, p[1:])
			if err != nil {
				return
			}
			c.opts.OnPacket(p[1:], attachments)
		case len(p) > 2 && p[0] == '4' && (p[1] == '2' || p[1] == '3'):
			if c.opts.OnEvent != nil {
				c.opts.OnEvent(p[2:])
			}
		case len(p) == 1 && p[0] == '2':
			_ = c.Send("3")
		}
	}
}

// readAttachments reads the frames that belong to a packet.
func readAttachments(r *bufio.Reader, p []byte) (attachments [][]byte, err error) {
	if p[0] != '5' && p[0] != '6' {
		return nil, nil
	}
	digits, _, _ := bytes.Cut(p[1:], []byte("-"))
	n, err := strconv.Atoi(string(digits))
	for range n {
		b, binary, err := readFrame(r, []byte{}) // empty, and not nil, if there is nothing in it
		if err != nil || !binary {
			return nil, fmt.Errorf("attachment %q: %v", b, err)
		}
		attachments = append(attachments, b)
	}
	return attachments, err
}

// SID is the socket's id.
func (c *Conn) SID() string { return c.sid }

// Done is closed when the connection has ended.
func (c *Conn) Done() <-chan struct{} { return c.done }

// Send writes one text message, an Engine.IO packet.
func (c *Conn) Send(text string) error { return c.Write(Frame(opText, text)) }

// SendBinary writes one binary message, an attachment.
func (c *Conn) SendBinary(b []byte) error { return c.Write(Frame(opBinary, string(b))) }

// Frame is a message in one frame, for Write; the mask is zero, which is a mask all the same. op is an opcode of RFC
// 6455, with the bits of RFC 7692 beside it.
func Frame(op byte, p string) []byte {
	const fin, masked = 0x80, 0x80
	b := append(make([]byte, 0, len(p)+14), fin|op)
	switch n := len(p); {
	case n < 126:
		b = append(b, masked|byte(n))
	case n < 1<<16:
		b = binary.BigEndian.AppendUint16(append(b, masked|126), uint16(n))
	default:
		b = binary.BigEndian.AppendUint64(append(b, masked|127), uint64(n))
	}
	return append(append(b, 0, 0, 0, 0), p...)
}

// Write writes bytes as they are: frames, or what a client that breaks the protocol sends.
func (c *Conn) Write(b []byte) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	_, err := c.nc.Write(b)
	return err
}

// Close drops the connection and waits until its reader has ended.
func (c *Conn) Close() {
	c.drop()
	<-c.done
}

func (c *Conn) drop() {
	c.once.Do(func() { close(c.release) })
	c.nc.Close()
}

// Opcodes of RFC 6455, section 5.2.
const (
	opText   = 1
	opBinary = 2
	opClose  = 8
)

// readFrame returns the payload of the next data frame, in buf if it fits, and whether it is binary.
func readFrame(r *bufio.Reader, buf []byte) (p []byte, isBinary bool, err error) {
	for {
		head, err := r.Peek(2)
		if err != nil {
			return nil, false, err
		}
		op, n := head[0]&0xf, int(head[1]&0x7f)
		skip := 2
		if n >= 126 {
			wide := 2 << (2 * (n - 126)) // 2 or 8 bytes
			if head, err = r.Peek(2 + wide); err != nil {
				return nil, false, err
			}
			n = 0
			for _, b := range head[2:] {
				n = n<<8 | int(b)
			}
			skip += wide
		}
		if _, err := r.Discard(skip); err != nil {
			return nil, false, err
		}
		if cap(buf) < n {
			buf = make([]byte, n)
		}
		buf = buf[:n]
		if _, err := io.ReadFull(r, buf); err != nil {
			return nil, false, err
		}
		switch op {
		case opText, opBinary:
			return buf, op == opBinary, nil
		case opClose:
			return nil, false, io.EOF
		}
	}
}

// DialMany opens n connections, 32 at a time; options is called with each one's number. After an error those that are
// open are closed.
func DialMany(addr string, n int, options func(i int) Options) ([]*Conn, error) {
	cs := make([]*Conn, n)
	errs := make(chan error, n)
	slots := make(chan struct{}, 32)
	for i := range n {
		slots <- struct{}{}
		go func() {
			defer func() { <-slots }()
			c, err := Dial(addr, options(i))
			cs[i] = c
			errs <- err
		}()
	}
	var first error
	for range n {
		if err := <-errs; err != nil && first == nil {
			first = err
		}
	}
	if first != nil {
		CloseAll(cs)
		return nil, first
	}
	return cs, nil
}

// CloseAll closes all connections of cs, nil ones aside, and waits for them.
func CloseAll(cs []*Conn) {
	for _, c := range cs {
		if c != nil {
			c.drop()
		}
	}
	for _, c := range cs {
		if c != nil {
			<-c.done
		}
	}
}
