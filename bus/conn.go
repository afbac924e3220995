package bus

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strconv"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/auth"
)

// Bounds of what is read apart from payloads. More than that is no Redis.
const (
	maxLine = 64 << 10  // one line: a status, an error, a length
	maxName = 64 << 10  // a channel name that a pattern matched; a message on a longer one is skipped
	maxOwn  = 512 << 20 // a name that we have subscribed to: Redis takes no longer one
)

var errProtocol = errors.New("unexpected reply")

// conn is one connection in RESP2, which every Redis, and every proxy before one, speaks.
type conn struct {
	nc net.Conn
	r  *bufio.Reader
	id identity // of the server, when the connection was made
}

// dial connects and authenticates as o says, and names the connection.
func dial(ctx context.Context, o *redis.Options, name string) (*conn, error) {
	timeout := o.DialTimeout
	if timeout <= 0 {
		timeout = 5 * time.Second
	}
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	nc, err := o.Dialer(ctx, o.Network, o.Addr)
	if err != nil {
		return nil, fmt.Errorf("connect to redis at %s: %w", o.Addr, err)
	}
	c := &conn{nc: nc, r: bufio.NewReaderSize(nc, 64<<10)}
	stop := context.AfterFunc(ctx, func() { nc.SetDeadline(time.Unix(1, 0)) })
	err = c.hello(ctx, o, name)
	if !stop() && err == nil {
		err = ctx.Err()
	}
	if err != nil {
		nc.Close()
		return nil, fmt.Errorf("connect to redis at %s: %w", o.Addr, err)
	}
	return c, nil
}

// hello authenticates, sets the name, which may be refused (ACL, proxies), and asks who the server is.
func (c *conn) hello(ctx context.Context, o *redis.Options, name string) error {
	user, pass, err := credentials(ctx, o)
	if err != nil {
		return err
	}
	var buf []byte
	switch {
	case user != "":
		buf = appendCommand(buf, "auth", user, pass)
	case pass != "":
		buf = appendCommand(buf, "auth", pass)
	}
	authenticating := len(buf) > 0
	buf = appendCommand(buf, "client", "setname", name)
	buf = append(buf, whoAreYou...)
	if _, err := c.nc.Write(buf); err != nil {
		// A server that is full says so to whoever connects, and closes.
		var full replyError
		if _, said := c.reply(); errors.As(said, &full) {
			return full
		}
		return err
	}
	if authenticating {
		if _, err := c.reply(); err != nil {
			return fmt.Errorf("authenticate: %w", err)
		}
	}
	_, err = c.reply()
	var re replyError
	if err != nil && (!errors.As(err, &re) || re.code() == "NOAUTH" || re.transient()) {
		return err
	}
	c.id, err = c.readIdentity()
	return err
}

// credentials follows the precedence that redis.Options documents.
func credentials(ctx context.Context, o *redis.Options) (user, pass string, err error) {
	switch {
	case o.StreamingCredentialsProvider != nil:
		// Used once: a connection whose credentials expire is closed by Redis, and the next asks again.
		creds, stop, err := o.StreamingCredentialsProvider.Subscribe(ignoreUpdates{})
		if err != nil {
			return "", "", fmt.Errorf("credentials: %w", err)
		}
		user, pass = creds.BasicAuth()
		if stop != nil {
			if err := stop(); err != nil {
				return "", "", fmt.Errorf("credentials: %w", err)
			}
		}
		return user, pass, nil
	case o.CredentialsProviderContext != nil:
		user, pass, err = o.CredentialsProviderContext(ctx)
		if err != nil {
			return "", "", fmt.Errorf("credentials: %w", err)
		}
		return user, pass, nil
	case o.CredentialsProvider != nil:
		user, pass = o.CredentialsProvider()
		return user, pass, nil
	}
	return o.Username, o.Password, nil
}

type ignoreUpdates struct{}

func (ignoreUpdates) OnNext(auth.Credentials) {}
func (ignoreUpdates) OnError(error)           {}

// appendCommand appends a command in RESP.
func appendCommand(b []byte, args ...string) []byte {
	b = appendHeader(b, '*', len(args))
	for _, a := range args {
		b = append(append(appendHeader(b, '$', len(a)), a...), '\r', '\n')
	}
	return b
}

func appendHeader(b []byte, kind byte, n int) []byte {
	return append(strconv.AppendInt(append(b, kind), int64(n), 10), '\r', '\n')
}

// line reads up to CRLF; what it returns is valid until the next read.
func (c *conn) line() ([]byte, error) {
	b, err := c.r.ReadSlice('\n')
	if err != nil {
		if errors.Is(err, bufio.ErrBufferFull) {
			return nil, fmt.Errorf("%w: line over %d bytes", errProtocol, maxLine)
		}
		return nil, err
	}
	if len(b) < 3 || b[len(b)-2] != '\r' {
		return nil, fmt.Errorf("%w: %.40q", errProtocol, b)
	}
	return b[:len(b)-2], nil
}

// reply reads a status, an error or an integer: all that the commands here answer outside of pub/sub.
func (c *conn) reply() (int64, error) {
	b, err := c.line()
	if err != nil {
		return 0, err
	}
	switch b[0] {
	case '+':
		return 0, nil
	case ':':
		return strconv.ParseInt(string(b[1:]), 10, 64)
	case '-':
		return 0, replyError(b[1:])
	}
	return 0, fmt.Errorf("%w: %.40q", errProtocol, b)
}

// count reads a header such as *3 or $5.
func (c *conn) count(kind byte) (int, error) {
	b, err := c.line()
	if err != nil {
		return 0, err
	}
	return parseCount(b, kind)
}

func parseCount(b []byte, kind byte) (int, error) {
	if b[0] != kind {
		return 0, fmt.Errorf("%w: %.40q instead of %c", errProtocol, b, kind)
	}
	if string(b[1:]) == "-1" {
		return -1, nil
	}
	n := 0
	for _, d := range b[1:] {
		if d < '0' || d > '9' || n > 1<<30 {
			return 0, fmt.Errorf("%w: length %.40q", errProtocol, b)
		}
		n = n*10 + int(d-'0')
	}
	if len(b) == 1 {
		return 0, fmt.Errorf("%w: no length", errProtocol)
	}
	return n, nil
}

// bulk appends a bulk string to b. One over limit is skipped, and long is true.
func (c *conn) bulk(b []byte, limit int) (_ []byte, long bool, err error) {
	n, err := c.count('$')
	if err != nil || n < 0 {
		return b, false, err
	}
	if n > limit {
		return b, true, c.skip(n)
	}
	for n > 0 { // memory for what is here, not for what is announced
		have, part := len(b), min(n, maxName)
		b = append(b, make([]byte, part)...)
		if _, err := io.ReadFull(c.r, b[have:]); err != nil {
			return b, false, err
		}
		n -= part
	}
	return b, false, c.end()
}

// payload reads a bulk string of n bytes.
func (c *conn) payload(n int) ([]byte, error) {
	b := make([]byte, n)
	if _, err := io.ReadFull(c.r, b); err != nil {
		return nil, err
	}
	return b, c.end()
}

func (c *conn) skip(n int) error {
	if _, err := c.r.Discard(n); err != nil {
		return err
	}
	return c.end()
}

// end reads the CRLF after a bulk string.
func (c *conn) end() error {
	b, err := c.r.Peek(2)
	if err != nil {
		return err
	}
	if b[0] != '\r' || b[1] != '\n' {
		return fmt.Errorf("%w: %q after a bulk string", errProtocol, b)
	}
	_, err = c.r.Discard(2)
	return err
}
