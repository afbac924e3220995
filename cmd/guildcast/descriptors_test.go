//go:build unix

package main

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/architus/guildcast/internal/test/wait"
)

// descriptors is how many file descriptors the node of TestFileDescriptorsRunOut may have.
const descriptors = 100

// TestFileDescriptorsRunOut takes all of a node's file descriptors. It says so in one line and does not spin, serves
// those that it has, and accepts others when there is room.
func TestFileDescriptorsRunOut(t *testing.T) {
	p := startWithin(t, []string{
		"GUILDCAST_ADDR=127.0.0.1:0", "GUILDCAST_DEMO=true", "GUILDCAST_LOG=json", "GUILDCAST_KEEP_ALIVE=10m",
	}, descriptors)
	url := strings.TrimSuffix(p.line(t, `open (http://\S+)`), "/")
	addr := strings.TrimPrefix(url, "http://")
	poll(t, url+"/readyz", 200)
	served := newKept(t, addr)
	if failures := served.failures(t); failures != 0 {
		t.Fatalf("%v failures of accept at the start", failures)
	}

	var idle []net.Conn
	defer func() {
		for _, c := range idle {
			c.Close()
		}
	}()
	began := time.Now()
	for range 2 * descriptors { // the system accepts them; the node can't
		c, err := net.Dial("tcp", addr)
		if err != nil {
			t.Fatal(err)
		}
		idle = append(idle, c)
	}
	wait.Until(t, "failures of accept", func() bool { return served.failures(t) >= 10 })
	// The pauses between two tries double from 5 ms up to 1 s: some nine tries in the first second, then one each.
	if got, most := served.failures(t), 10+time.Since(began).Seconds(); got > most {
		t.Errorf("%v tries to accept, of %v at most: it spins", got, most)
	}
	for _, c := range idle {
		c.Close()
	}
	idle = nil
	poll(t, url+"/readyz", 200)

	if err := p.cmd.Process.Signal(os.Interrupt); err != nil {
		t.Fatal(err)
	}
	_, log := p.exit(t)
	if n := strings.Count(log, "file descriptors have run out"); n != 1 {
		t.Errorf("it was said %d times", n)
	}
	if !strings.Contains(log, "new clients are accepted again") {
		t.Error("that it recovered was not said")
	}
}

// startWithin is start with a limit of file descriptors.
func startWithin(t *testing.T, env []string, descriptors int) *process {
	t.Helper()
	return startCommand(t, exec.Command("sh", "-c",
		fmt.Sprintf(`ulimit -n %d && exec "$0"`, descriptors), os.Args[0]), env)
}

// kept is a connection that a node serves.
type kept struct {
	conn   net.Conn
	reader *bufio.Reader
}

func newKept(t *testing.T, addr string) *kept {
	t.Helper()
	c, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return &kept{c, bufio.NewReader(c)}
}

// failures asks for the failures of accept.
func (k *kept) failures(t *testing.T) float64 {
	t.Helper()
	if err := k.conn.SetDeadline(time.Now().Add(time.Minute)); err != nil {
		t.Fatal(err)
	}
	if _, err := io.WriteString(k.conn, "GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n"); err != nil {
		t.Fatal(err)
	}
	response, err := http.ReadResponse(k.reader, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	m := acceptFailures.FindSubmatch(body)
	if m == nil {
		t.Fatal("no such metric")
	}
	n, err := strconv.ParseFloat(string(m[1]), 64)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

var acceptFailures = regexp.MustCompile(`(?m)^guildcast_accept_failures_total (\S+)$`)
