package bus

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"net"
	"strconv"
	"testing"
)

// reloads is a cluster that is only asked to reload its layout.
type reloads struct {
	clusterClient
	n int
}

func (c *reloads) ReloadState(context.Context) { c.n++ }

func TestMoved(t *testing.T) {
	for _, c := range []struct {
		reply string
		moved bool
		addr  string // of slot 3999; empty where go-redis must find it
	}{
		{"MOVED 3999 127.0.0.1:6381", true, "127.0.0.1:6381"},
		{"MOVED 3999 redis-3.example:6381", true, "redis-3.example:6381"},
		{"MOVED 3999 ::1:6381", true, "[::1]:6381"},
		{"MOVED 3999 2001:db8::7:6381", true, "[2001:db8::7]:6381"},
		{"MOVED 3999 [2001:db8::7]:6381", true, "[2001:db8::7]:6381"},
		{"MOVED 3999 :6381", true, ""},
		{"MOVED 3999 ?:6381", true, ""},
		{"MOVED 3999 127.0.0.1", true, ""},
		{"MOVED 3999 127.0.0.1:", true, ""},
		{"MOVED 3999 127.0.0.1:redis", true, ""},
		{"MOVED 3999 127.0.0.1:65536", true, ""},
		{"MOVED 3999 a[b:6381", true, ""},
		{"MOVED 16384 127.0.0.1:6381", true, ""},
		{"MOVED -1 127.0.0.1:6381", true, ""},
		{"MOVED", false, ""},
		{"MOVED 3999", false, ""},
		{"ASK 3999 127.0.0.1:6381", false, ""},
		{"", false, ""},
	} {
		client := &reloads{}
		r := &clusterRouter{client: client, patches: map[uint16]patch{}}
		if moved := r.moved(replyError(c.reply)); moved != c.moved || r.patches[3999].addr != c.addr ||
			(client.n == 1) != c.moved {
			t.Errorf("%q: %v, %q, reloaded %d times", c.reply, moved, r.patches[3999].addr, client.n)
		}
		if c.addr == "" && len(r.patches) > 0 {
			t.Errorf("%q: %v", c.reply, r.patches)
		}
	}
}

// FuzzReplies reads what Redis answers to PUBLISH, and obeys it.
func FuzzReplies(f *testing.F) {
	f.Add([]byte(":1\r\n+OK\r\n-MOVED 3999 127.0.0.1:6381\r\n-ASK 3999 127.0.0.1:6381\r\n-TRYAGAIN x\r\n-NOPERM this user\r\n"))
	f.Add([]byte("-MOVED 3999 2001:db8::7:6381\r\n-MOVED 16383 :6381\r\n-MOVED 0 ?:1\r\n-ERR max number of clients reached\r\n"))
	f.Fuzz(func(t *testing.T, wire []byte) {
		c := &conn{r: bufio.NewReader(bytes.NewReader(wire))}
		for {
			_, err := c.reply()
			var e replyError
			if err != nil && !errors.As(err, &e) {
				return
			}
			r := &clusterRouter{client: &reloads{}, patches: map[uint16]patch{}}
			if r.moved(e) && (e.code() != "MOVED" || e.transient() || errors.Is(e, ErrRefused)) {
				t.Errorf("%q has moved, but is refused, or for later", e)
			}
			for slot, p := range r.patches {
				host, port, err := net.SplitHostPort(p.addr)
				if n, err := strconv.Atoi(port); err != nil || n < 1 || n > 65535 {
					t.Errorf("%q: port %q", e, port)
				}
				if err != nil || host == "" || slot >= 1<<14 {
					t.Errorf("%q: slot %d at %q: %v", e, slot, p.addr, err)
				}
			}
		}
	})
}
