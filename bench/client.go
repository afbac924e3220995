//go:build linux

package main

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"sync"
	"sync/atomic"
	"time"
)

// conn is a Socket.IO 5 connection over WebSocket, as thin as a client can be, so that the server is what is measured.
// One goroutine reads; send may be called from any goroutine.
type conn struct {
	nc      net.Conn
	sid     string
	onEvent func(payload []byte) // the text behind "42" or "43"; valid during the call only
	stalled bool                 // never reads after it has connected

	mu     sync.Mutex // guards writes
	closed atomic.Bool
	done   chan struct{} // closed when the reader has ended
}

// browserHeaders are what a browser sends beside what the handshake needs.
const browserHeaders = "User-Agent: Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/141.0.0.0 Safari/537.36\r\n" +
	"Accept-Language: en-US,en;q=0.9,de;q=0.8\r\nAccept-Encoding: gzip, deflate, br, zstd\r\nCache-Control: no-cache\r\nPragma: no-cache\r\n" +
	"Origin: http://dashboard.example\r\nCookie: session=0123456789abcdef0123456789abcdef; theme=dark; _ga=GA1.1.123456789.1700000000\r\n"

// dial connects to the main namespace. headers is added to the handshake as it is.
func dial(addr, headers string, onEvent func([]byte)) (*conn, error) {
	nc, err := net.DialTimeout("tcp", addr, 20*time.Second)
	if err != nil {
		return nil, err
	}
	c := &conn{nc: nc, onEvent: onEvent, done: make(chan struct{})}
	r := bufio.NewReaderSize(nc, 4096)
	if err := c.handshake(addr, headers, r); err != nil {
		nc.Close()
		return nil, fmt.Errorf("handshake: %w", err)
	}
	go c.read(r)
	return c, nil
}

func (c *conn) handshake(addr, headers string, r *bufio.Reader) error {
	_ = c.nc.SetDeadline(time.Now().Add(30 * time.Second))
	_, err := fmt.Fprintf(c.nc, "GET /socket.io/?EIO=4&transport=websocket HTTP/1.1\r\nHost: %s\r\nUpgrade: websocket\r\n"+
		"Connection: Upgrade\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n%s\r\n", addr, headers)
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
	open, err := readFrame(r, nil)
	if err != nil || len(open) == 0 || open[0] != '0' {
		return fmt.Errorf("open packet %q: %v", open, err)
	}
	if err := c.send("40"); err != nil {
		return err
	}
	connect, err := readFrame(r, nil)
	if err != nil || !bytes.HasPrefix(connect, []byte(`40{"sid":"`)) {
		return fmt.Errorf("connect packet %q: %v", connect, err)
	}
	rest := connect[len(`40{"sid":"`):]
	c.sid = string(rest[:bytes.IndexByte(rest, '"')])
	return c.nc.SetDeadline(time.Time{})
}

func (c *conn) read(r *bufio.Reader) {
	defer close(c.done)
	defer c.nc.Close()
	buf := make([]byte, 0, 2048)
	for {
		p, err := readFrame(r, buf)
		if err != nil {
			return
		}
		buf = p[:0]
		switch {
		case len(p) > 2 && p[0] == '4' && (p[1] == '2' || p[1] == '3'):
			if c.onEvent != nil {
				c.onEvent(p[2:])
			}
		case len(p) == 1 && p[0] == '2':
			_ = c.send("3")
		}
	}
}

// send writes one text message; the mask is zero, which is a mask all the same.
func (c *conn) send(text string) error {
	b := make([]byte, 0, len(text)+14)
	switch n := len(text); {
	case n < 126:
		b = append(b, 0x81, 0x80|byte(n))
	case n < 1<<16:
		b = binary.BigEndian.AppendUint16(append(b, 0x81, 0x80|126), uint16(n))
	default:
		b = binary.BigEndian.AppendUint64(append(b, 0x81, 0x80|127), uint64(n))
	}
	b = append(append(b, 0, 0, 0, 0), text...)
	c.mu.Lock()
	defer c.mu.Unlock()
	_, err := c.nc.Write(b)
	return err
}

func (c *conn) close() {
	if !c.closed.Swap(true) {
		c.nc.Close()
	}
	<-c.done
}

// readFrame returns the payload of the next data frame, in buf where it fits.
func readFrame(r *bufio.Reader, buf []byte) ([]byte, error) {
	for {
		head, err := r.Peek(2)
		if err != nil {
			return nil, err
		}
		op, n := head[0]&0xf, int(head[1]&0x7f)
		skip := 2
		if n >= 126 {
			wide := 2 << (2 * (n - 126)) // 2 or 8 bytes
			if head, err = r.Peek(2 + wide); err != nil {
				return nil, err
			}
			n = 0
			for _, b := range head[2:] {
				n = n<<8 | int(b)
			}
			skip += wide
		}
		if _, err := r.Discard(skip); err != nil {
			return nil, err
		}
		if cap(buf) < n {
			buf = make([]byte, n)
		}
		buf = buf[:n]
		if _, err := io.ReadFull(r, buf); err != nil {
			return nil, err
		}
		switch op {
		case 1, 2:
			return buf, nil
		case 8:
			return nil, io.EOF
		}
	}
}

// dialMany opens n connections, 32 at a time. make is called with each one's number for its onEvent.
func dialMany(addr, headers string, n int, onEvent func(i int) func([]byte)) ([]*conn, error) {
	cs := make([]*conn, n)
	errs := make(chan error, n)
	slots := make(chan struct{}, 32)
	for i := range n {
		slots <- struct{}{}
		go func() {
			defer func() { <-slots }()
			var f func([]byte)
			if onEvent != nil {
				f = onEvent(i)
			}
			c, err := dial(addr, headers, f)
			cs[i] = c
			errs <- err
		}()
	}
	for range n {
		if err := <-errs; err != nil {
			return nil, err
		}
	}
	return cs, nil
}

func closeAll(cs []*conn) {
	for _, c := range cs {
		if c != nil {
			c.closed.Store(true)
			c.nc.Close()
		}
	}
	for _, c := range cs {
		if c != nil {
			<-c.done
		}
	}
}

// number reads the decimal number that follows prefix in p, or -1.
func number(p []byte, prefix string) int {
	rest, ok := bytes.CutPrefix(p, []byte(prefix))
	if !ok {
		return -1
	}
	end := 0
	for end < len(rest) && rest[end] >= '0' && rest[end] <= '9' {
		end++
	}
	n, err := strconv.Atoi(string(rest[:end]))
	if err != nil {
		return -1
	}
	return n
}
