package forward

import (
	"bufio"
	"context"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	goredis "github.com/redis/go-redis/v9"
	"github.com/zishang520/socket.io/v2/socket"

	"github.com/architus/guildcast/engine"
	"github.com/architus/guildcast/internal/test/redistest"
	"github.com/architus/guildcast/internal/test/sioclient"
	"github.com/architus/guildcast/internal/test/wait"
)

const unknownSession = `{"code":1,"message":"Session ID unknown"}`

func TestMain(m *testing.M) { redistest.Main(m) }

// node is a Socket.IO server that passes on what is not its own.
type node struct {
	*Forwarder
	engine *engine.Handler
	http   *httptest.Server
	seen   sync.Map // query parameter t → the address that the engine sees
}

// start starts a node, which says hello and echoes.
func start(t *testing.T, client goredis.UniversalClient, o Options) *node {
	t.Helper()
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.Secrets == nil {
		o.Secrets = [][]byte{[]byte("a secret of the tests that has 32 bytes")}
	}
	f, err := New(client, o)
	if err != nil {
		t.Fatal(err)
	}
	n := &node{Forwarder: f}
	opts := socket.DefaultServerOptions()
	opts.SetMaxHttpBufferSize(100_000)
	server, h := engine.NewServer(opts, engine.Options{NodeID: f.ID(), Forward: f.Forward})
	n.engine = h
	_ = server.On("connection", func(args ...any) {
		s := args[0].(*socket.Socket)
		_ = s.On("echo", func(args ...any) { _ = s.Emit("echo", args...) })
		_ = s.Emit("hello")
	})
	mux := http.NewServeMux()
	mux.Handle("/socket.io/", h)
	mux.Handle(Path+"/", f.Serve(n))
	n.http = httptest.NewUnstartedServer(mux)
	if o.TLS {
		n.http.TLS = f.TLS(&tls.Config{})
		n.http.StartTLS()
	} else {
		n.http.Start()
	}
	f.Listen(n.http.Listener.Addr())
	if err := f.Announce(t.Context()); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- f.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
		stopping, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		f.Drain(ctx, 0)
		if err := h.Shutdown(stopping); err != nil {
			t.Error(err)
		}
		n.http.Close()
	})
	return n
}

// ServeHTTP serves what other nodes pass on.
func (n *node) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	n.seen.Store(r.URL.Query().Get("t"), r.RemoteAddr)
	n.engine.ServeHTTP(w, r)
}

// Release implements sessions.
func (n *node) Release(sid string) { n.engine.Release(sid) }

// request sends a request to the node.
func (n *node) request(t *testing.T, method, query, body string) (int, string) {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), method,
		n.http.URL+"/socket.io/?EIO=4&transport=polling"+query, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	response, err := n.http.Client().Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	data, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	for name := range response.Header {
		if name == header {
			t.Errorf("the client gets the header %s", name)
		}
	}
	return response.StatusCode, string(data)
}

// open opens a session and returns the query that names it.
func (n *node) open(t *testing.T) string {
	t.Helper()
	status, body := n.request(t, "GET", "", "")
	var open struct{ SID string }
	if status != 200 || json.Unmarshal([]byte(body[1:]), &open) != nil || !strings.HasPrefix(open.SID, n.ID()) ||
		len(open.SID) != 20 {
		t.Fatalf("%d %s", status, body)
	}
	return "&sid=" + open.SID
}

// poll polls until text has come.
func (n *node) poll(t *testing.T, query, text string) {
	t.Helper()
	for heard := ""; !strings.Contains(heard, text); {
		status, body := n.request(t, "GET", query, "")
		if status != 200 {
			t.Fatalf("%d %s after %q", status, body, heard)
		}
		heard += body
	}
}

// TestPolling polls and posts at nodes that don't have the session.
func TestPolling(t *testing.T) {
	_, client := redistest.Mini(t)
	for _, secure := range []bool{false, true} {
		t.Run(fmt.Sprintf("tls=%v", secure), func(t *testing.T) {
			a, b := start(t, client, Options{TLS: secure}), start(t, client, Options{TLS: secure})
			session := a.open(t)
			if status, body := b.request(t, "POST", session+"&t=first", "40"); status != 200 || body != "ok" {
				t.Fatalf("%d %s", status, body)
			}
			b.poll(t, session, "hello")
			large := strings.Repeat("x", 50_000)
			if status, body := b.request(t, "POST", session, `42["echo","`+large+`"]`); status != 200 || body != "ok" {
				t.Fatalf("%d %s", status, body)
			}
			a.poll(t, session, large)
			if status, _ := b.request(t, "POST", session, strings.Repeat("x", 200_000)); status != 413 {
				t.Errorf("a body that is too large: %d", status)
			}
			if address, _ := a.seen.Load("first"); address == nil ||
				!strings.HasPrefix(address.(string), "127.0.0.1:") ||
				strings.HasSuffix(address.(string), ":0") {
				t.Errorf("the owner sees the address %v", address)
			}
			if s := b.Stats(); s.Forwarded < 3 || s.Unknown+s.Unreachable+s.Refused != 0 {
				t.Errorf("%+v", s)
			}
		})
	}
}

// TestUpgrade upgrades a session at a node that does not have it. When that node drains, the WebSocket closes.
func TestUpgrade(t *testing.T) {
	_, client := redistest.Mini(t)
	a, b := start(t, client, Options{}), start(t, client, Options{})
	session := a.open(t)
	b.request(t, "POST", session, "40")
	b.poll(t, session, "hello")
	nc, err := net.Dial("tcp", b.http.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	_ = nc.SetDeadline(time.Now().Add(time.Minute))
	fmt.Fprintf(nc, "GET /socket.io/?EIO=4&transport=websocket%s HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\n"+
		"Connection: Upgrade\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n",
		session)
	r := bufio.NewReader(nc)
	response, err := http.ReadResponse(r, nil)
	if err != nil || response.StatusCode != 101 || response.Header.Get(header) != "" {
		t.Fatalf("%+v, error %v", response, err)
	}
	send := func(text string) {
		t.Helper()
		if _, err := nc.Write(sioclient.Frame(1, text)); err != nil {
			t.Fatal(err)
		}
	}
	expect := func(want string) {
		t.Helper()
		for range 10 {
			h := make([]byte, 2)
			if _, err := io.ReadFull(r, h); err != nil {
				t.Fatal(err)
			}
			payload := make([]byte, h[1]&127) // all are short
			if _, err := io.ReadFull(r, payload); err != nil {
				t.Fatal(err)
			}
			if string(payload) == want {
				return
			}
		}
		t.Fatalf("%s does not come", want)
	}
	send("2probe")
	expect("3probe")
	send("5")
	send(`42["echo",7]`)
	expect(`42["echo",7]`)
	if n := b.Stats().WebSockets; n != 1 || a.engine.Stats().WebSocket != 1 {
		t.Errorf("%d WebSockets lead to other nodes", n)
	}
	ctx, cancel := context.WithCancel(t.Context())
	drained := make(chan struct{})
	go func() { defer close(drained); b.Drain(ctx, time.Second) }()
	if b.Await(ctx); b.Stats().WebSockets != 0 {
		t.Error("a WebSocket is open that was waited for")
	}
	if _, err := io.Copy(io.Discard, r); err != nil {
		t.Errorf("the end of the WebSocket: %v", err)
	}
	wait.Until(t, "the session to end", func() bool { s := a.engine.Stats(); return s.WebSocket+s.Polling == 0 })
	cancel()
	<-drained
	if n := b.Stats().WebSockets; n != 0 {
		t.Errorf("%d WebSockets after the drain", n)
	}
}

// TestPollOfADrainingNode drains a node at which a poll waits: it is answered, and the session stays.
func TestPollOfADrainingNode(t *testing.T) {
	_, client := redistest.Mini(t)
	a, b := start(t, client, Options{}), start(t, client, Options{})
	session := a.open(t)
	b.request(t, "POST", session, "40")
	b.poll(t, session, "hello")
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	answered := make(chan string, 1)
	go func() {
		status, body := b.request(t, "GET", session, "")
		answered <- fmt.Sprint(status, " ", body)
	}()
	wait.Until(t, "the poll to be passed on", func() bool { return len(b.polls.share(1)) == 1 })
	go b.Drain(ctx, 0)
	if got := <-answered; got != "200 6" {
		t.Errorf("the poll is answered %s", got)
	}
	a.request(t, "POST", session, `42["echo",7]`)
	a.poll(t, session, `["echo",7]`)
}

// TestNobodyAnswers sends requests of sessions that no node has, or none that answers.
func TestNobodyAnswers(t *testing.T) {
	mini, client := redistest.Mini(t)
	a := start(t, client, Options{})
	closed, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	closed.Close()
	other := httptest.NewServer(http.NotFoundHandler()) // another program
	defer other.Close()
	stranger := start(t, client, Options{Secrets: [][]byte{[]byte("another secret")}})
	for id, url := range map[string]string{
		"closed": "http://" + closed.Addr().String(), "other1": other.URL, "broken": "nowhere", "loop12": a.http.URL,
	} {
		mini.Set(prefix+id, fmt.Sprintf(`{"url":%q}`, url))
	}
	mini.Set(prefix+"nojson", "{")
	for _, sid := range []string{
		a.ID() + "aaaaaaaaaaaaaa", "absentaaaaaaaaaaaaaa", "closedaaaaaaaaaaaaaa", "other1aaaaaaaaaaaaaa",
		"brokenaaaaaaaaaaaaaa", "loop12aaaaaaaaaaaaaa", "nojsonaaaaaaaaaaaaaa", stranger.ID() + "aaaaaaaaaaaaaa",
		"short", "absent*aaaaaaaaaaaaa", "absentaaaaaaaaaaaaaaa",
	} {
		for range 2 { // the second time from memory
			if status, body := a.request(t, "GET", "&sid="+sid, ""); status != 400 || body != unknownSession {
				t.Errorf("%s: %d %s", sid, status, body)
			}
			if status, body := a.request(t, "POST", "&sid="+sid, "40"); status != 400 || body != unknownSession {
				t.Errorf("%s: %d %s", sid, status, body)
			}
		}
	}
	if s := a.Stats(); s.Unknown == 0 || s.Unreachable == 0 || s.Refused < 4 {
		t.Errorf("%+v", s)
	}
}

// TestPassedOnOnce gives a node a request, signed well, for a session of another node: it is not passed on again.
func TestPassedOnOnce(t *testing.T) {
	_, client := redistest.Mini(t)
	a, b := start(t, client, Options{}), start(t, client, Options{})
	session := a.open(t)
	uri := "/socket.io/?EIO=4&transport=polling" + session
	r, err := http.NewRequestWithContext(t.Context(), "GET", b.http.URL+Path+uri, nil)
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set(header, a.signer.sign(b.ID(), "GET", uri, "192.0.2.1:1"))
	for _, want := range []int{400, 403} { // the second time it is a replay
		response, err := http.DefaultClient.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		response.Body.Close()
		if response.StatusCode != want {
			t.Errorf("status %d, want %d", response.StatusCode, want)
		}
	}
	if s := a.Stats(); s.Served != 0 {
		t.Errorf("it was passed on: %+v", s)
	}
}

// TestOutsiders ask for what is served to nodes only.
func TestOutsiders(t *testing.T) {
	_, client := redistest.Mini(t)
	a := start(t, client, Options{})
	session := a.open(t)
	for _, value := range []string{"", "served", "v1 1 2 3 4", a.signer.sign("absent", "GET", "/", "-")} {
		r, err := http.NewRequestWithContext(t.Context(), "GET",
			a.http.URL+Path+"/socket.io/?EIO=4&transport=polling"+session, nil)
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set(header, value)
		response, err := http.DefaultClient.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		response.Body.Close()
		if response.StatusCode != 403 {
			t.Errorf("%q: status %d", value, response.StatusCode)
		}
	}
	if s := a.Stats(); s.Forged != 4 || s.Served != 0 {
		t.Errorf("%+v", s)
	}
}

// TestWithoutRedis passes on to a node that was known before Redis was lost.
func TestWithoutRedis(t *testing.T) {
	mini, client := redistest.Mini(t)
	a, b := start(t, client, Options{}), start(t, client, Options{})
	session := a.open(t)
	b.request(t, "POST", session, "40")
	mini.SetError("LOADING")
	b.registry.mu.Lock()
	b.registry.lookups[a.ID()].at = time.Now().Add(-time.Hour)
	b.registry.mu.Unlock()
	b.poll(t, session, "hello")
	if err := a.Announce(t.Context()); err == nil {
		t.Error("announced without redis")
	}
}
