package sioclient

import (
	"bufio"
	"bytes"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// TestConversation plays the server: handshake, an event in each of the three frame length forms, a ping.
func TestConversation(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	long, huge := strings.Repeat("a", 300), strings.Repeat("b", 70_000)
	pong := make(chan string, 1)
	go func() {
		nc, err := l.Accept()
		if err != nil {
			return
		}
		defer nc.Close()
		r := bufio.NewReader(nc)
		if _, err := http.ReadRequest(r); err != nil {
			return
		}
		io.WriteString(nc, "HTTP/1.1 101 Switching Protocols\r\n\r\n\x81\x020{")
		readMasked(r)
		io.WriteString(nc, "\x81\x1140{\"sid\":\"abcde\"}\x81\x0542[1]\x81\x7e\x01\x2e42"+long+
			"\x81\x7f\x00\x00\x00\x00\x00\x01\x11\x7242"+huge+"\x81\x012")
		pong <- readMasked(r)
	}()
	var got []string
	events := make(chan string, 3)
	c, err := Dial(l.Addr().String(), Options{OnEvent: func(p []byte) { events <- string(p) }})
	if err != nil {
		t.Fatal(err)
	}
	if c.SID() != "abcde" {
		t.Errorf("sid %q", c.SID())
	}
	for range 3 {
		got = append(got, <-events)
	}
	if got[0] != "[1]" || got[1] != long || got[2] != huge {
		t.Errorf("events of %d, %d, %d bytes", len(got[0]), len(got[1]), len(got[2]))
	}
	if p := <-pong; p != "3" {
		t.Errorf("answer to the ping: %q", p)
	}
	<-c.Done() // the server has closed
	c.Close()
}

// readMasked reads a short frame with a zero mask.
func readMasked(r *bufio.Reader) string {
	head := make([]byte, 6)
	if _, err := io.ReadFull(r, head); err != nil || !bytes.Equal(head[2:], make([]byte, 4)) {
		return "bad frame"
	}
	p := make([]byte, head[1]&0x7f)
	_, _ = io.ReadFull(r, p)
	return string(p)
}
