package eio

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"
)

// plain is the driver of tests in which WebSockets play no part.
var plain = drivers[0]

func TestPollingOpens(t *testing.T) {
	f := newFixture(t, plain, Config{})
	a := f.get("EIO=4&transport=polling")
	d := f.parseOpen(a.body)
	if a.status != 200 || len(d.Upgrades) != 1 || d.Upgrades[0] != "websocket" || d.MaxPayload != 1000000 {
		t.Errorf("%d %+v", a.status, d)
	}
	if a.header.Get("Content-Type") != "text/plain; charset=UTF-8" || a.header.Get("Cache-Control") != "no-store" ||
		a.header.Get("Set-Cookie") != "" || a.header.Get("Content-Length") == "" {
		t.Errorf("headers %v", a.header)
	}
	if o := f.owner(); o.Transport() != Polling || o.ID() != d.SID || f.eio.Stats().Polling != 1 {
		t.Errorf("%s %s", o.Transport(), o.ID())
	}
}

func TestRefusals(t *testing.T) {
	var refused []*ConnectionError
	f := newFixture(t, plain, Config{
		AllowRequest: func(r *http.Request) error {
			if r.URL.Query().Has("forbidden") {
				return errors.New("not you")
			}
			return nil
		},
		Hooks: Hooks{ConnectionError: func(e *ConnectionError) { refused = append(refused, e) }},
	})
	query, _ := f.openPolling()
	for i, c := range []struct {
		method, query string
		status        int
		body          string
	}{
		{"GET", "EIO=4", 400, `{"code":0,"message":"Transport unknown"}`},
		{"GET", "EIO=4&transport=constructor", 400, `{"code":0,"message":"Transport unknown"}`},
		{"GET", "EIO=4&transport=polling&sid=unknown", 400, `{"code":1,"message":"Session ID unknown"}`},
		{"POST", "EIO=4&transport=polling", 400, `{"code":2,"message":"Bad handshake method"}`},
		{"PUT", "EIO=4&transport=polling", 400, `{"code":2,"message":"Bad handshake method"}`},
		{"GET", "EIO=4&transport=websocket", 400, `{"code":3,"message":"Bad request"}`},
		{"GET", strings.Replace(query, "polling", "websocket", 1), 400, `{"code":3,"message":"Bad request"}`},
		{"GET", strings.Replace(query, "EIO=4", "EIO=3", 1), 400, `{"code":3,"message":"Bad request"}`},
		{"GET", "EIO=4&transport=polling&forbidden=1", 403, `{"code":4,"message":"not you"}`},
		{"GET", "EIO=3&transport=polling", 400, `{"code":5,"message":"Unsupported protocol version"}`},
		{"GET", "EIO=abc&transport=polling", 400, `{"code":5,"message":"Unsupported protocol version"}`},
		{"GET", "transport=polling", 400, `{"code":5,"message":"Unsupported protocol version"}`},
	} {
		a := f.do(c.method, c.query, "")
		if a.status != c.status || a.body != c.body || a.header.Get("Content-Type") != "application/json" {
			t.Errorf("%s %s: %d %s", c.method, c.query, a.status, a.body)
		}
		if len(refused) != i+1 || refused[i].Request == nil || refused[i].Context == nil ||
			!strings.Contains(c.body, refused[i].Error()) {
			t.Fatalf("%s %s: the hook saw %d", c.method, c.query, len(refused))
		}
	}
	if a := f.do("DELETE", query, ""); a.status != 405 {
		t.Errorf("DELETE: %d", a.status)
	}
}

func TestPollingMessages(t *testing.T) {
	f := newFixture(t, plain, Config{}, echoing)
	query, _ := f.openPolling()
	for body, want := range map[string]string{
		"4hello":                 "4hello",
		"4a\x1e4b\x1e4c":         "4a\x1e4b\x1e4c",
		"4hé😀\x1ebAQIDBA==\x1e4": "4hé😀\x1ebAQIDBA==\x1e4",
		"bAQIDBA":                "bAQIDBA==",
		"6\x1e4x":                "4x",
	} {
		if a := f.post(query, body); a.status != 200 || a.body != "ok" || a.header.Get("Content-Type") != "text/html" {
			t.Fatalf("%q: %d %q", body, a.status, a.body)
		}
		if a := f.get(query); a.status != 200 || a.body != want {
			t.Errorf("%q: %d %q", body, a.status, a.body)
		}
	}
	waits := f.goGet(query)
	f.post(query, "4late")
	if a := f.await(waits); a.body != "4late" {
		t.Errorf("the poll that waited got %q", a.body)
	}
}

func TestPollingBadPayloads(t *testing.T) {
	for _, c := range []struct{ body, contentType, reason string }{
		{"abc", "text/plain", ReasonParseError},
		{"", "text/plain", ReasonParseError},
		{"4a\x1e", "text/plain", ReasonParseError},
		{"4\xff", "text/plain", ReasonParseError},
		{strings.Repeat("6\x1e", 10) + "6", "text/plain", ReasonParseError}, // over MaxPayloadPackets
		{"4a", "application/octet-stream", ReasonTransportError},
	} {
		f := newFixture(t, plain, Config{MaxPayloadPackets: 10})
		query, o := f.openPolling()
		waits := f.goGet(query)
		o.waiting()
		if a := f.do("POST", query, c.body, "Content-Type", c.contentType); a.status != 400 ||
			!strings.HasPrefix(a.body, `{"code":3`) {
			t.Errorf("%q: %d %s", c.body, a.status, a.body)
		}
		o.expectClose(c.reason)
		if a := f.await(waits); a.status != 200 || a.body != "1" {
			t.Errorf("%q: the poll got %d %q", c.body, a.status, a.body)
		}
		if a := f.get(query); a.status != 400 || a.body != `{"code":1,"message":"Session ID unknown"}` {
			t.Errorf("%q: later polls get %d %s", c.body, a.status, a.body)
		}
	}
}

func TestPollingBodyLimit(t *testing.T) {
	f := newFixture(t, plain, Config{MaxHTTPBufferSize: 1000})
	query, o := f.openPolling()
	if a := f.post(query, "4"+strings.Repeat("x", 1000)); a.status != 413 {
		t.Errorf("status %d", a.status)
	}
	r, _ := http.NewRequest("POST", f.url(query),
		io.MultiReader(strings.NewReader("4"), strings.NewReader(strings.Repeat("x", 5000))))
	r.ContentLength = -1 // chunked
	resp, err := f.http.Client().Do(r)
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	if resp.StatusCode != 413 {
		t.Errorf("chunked: status %d", resp.StatusCode)
	}
	f.post(query, "4"+strings.Repeat("x", 999)) // the session has survived it
	o.expectMessage(strings.Repeat("x", 999))
}

func TestPollsThatOverlap(t *testing.T) {
	f := newFixture(t, plain, Config{})
	query, o := f.openPolling()
	first := f.goGet(query)
	o.waiting()
	if a := f.get(query); a.status != 400 {
		t.Errorf("second poll: %d", a.status)
	}
	if a := f.await(first); a.status != 200 || a.body != "1" {
		t.Errorf("first poll: %d %q", a.status, a.body)
	}
	if err := o.expectClose(ReasonTransportError); !errors.Is(err, errOverlapPoll) {
		t.Error(err)
	}
}

func TestPostsThatOverlap(t *testing.T) {
	block := make(chan struct{})
	f := newFixture(t, plain, Config{}, func(f *fixture) {
		f.onMsg = func(o *owner, _ bool, _ []byte) { o.messages <- "in"; <-block }
	})
	query, o := f.openPolling()
	first := make(chan answer, 1)
	go func() { a, _ := f.try(t.Context(), "POST", query, "4a\x1e4b"); first <- a }()
	o.expectMessage("in")
	if a := f.post(query, "4c"); a.status != 400 {
		t.Errorf("second POST: %d", a.status)
	}
	close(block)
	if a := f.await(first); a.status != 200 {
		t.Errorf("first POST: %d", a.status)
	}
	if err := o.expectClose(ReasonTransportError); !errors.Is(err, errOverlapPost) {
		t.Error(err)
	}
	if len(o.messages) != 0 {
		t.Error("message after the end of the session")
	}
}

// The end of a session ends a POST whose body is still to come.
func TestPostWhoseBodyDoesNotCome(t *testing.T) {
	f := newFixture(t, plain, Config{})
	query, o := f.openPolling()
	u, _ := url.Parse(f.http.URL)
	c, err := net.Dial("tcp", u.Host)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	fmt.Fprintf(c, "POST /engine.io/?%s HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\nExpect: 100-continue\r\n\r\n",
		query)
	_ = c.SetReadDeadline(time.Now().Add(patience))
	r := bufio.NewReader(c)
	if line, err := r.ReadString('\n'); err != nil || !strings.Contains(line, "100") { // the body is being read
		t.Fatal(line, err)
	}
	if a := f.post(query, "4a"); a.status != 400 {
		t.Errorf("second POST: %d", a.status)
	}
	o.expectClose(ReasonTransportError)
	_, _ = r.ReadString('\n')
	if line, err := r.ReadString('\n'); err != nil || !strings.Contains(line, "400") {
		t.Errorf("first POST: %q %v", line, err)
	}
}

func TestPollBroken(t *testing.T) {
	f := newFixture(t, plain, Config{})
	query, o := f.openPolling()
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() { defer close(done); _, _ = f.try(ctx, "GET", query, "") }()
	o.waiting()
	cancel()
	<-done
	if err := o.expectClose(ReasonTransportError); !errors.Is(err, errPollBroken) {
		t.Error(err)
	}
}

func TestPostBroken(t *testing.T) {
	f := newFixture(t, plain, Config{})
	query, o := f.openPolling()
	nc, err := net.Dial("tcp", f.http.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	fmt.Fprintf(nc, "POST /engine.io/?%s HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\n4abc", query)
	nc.Close()
	if err := o.expectClose(ReasonTransportError); !errors.Is(err, errPostBroken) {
		t.Error(err)
	}
}

func TestClientLeavesByPost(t *testing.T) {
	t.Run("with a poll that waits", func(t *testing.T) {
		f := newFixture(t, plain, Config{})
		query, o := f.openPolling()
		waits := f.goGet(query)
		o.waiting()
		if a := f.post(query, "4last\x1e1\x1e4never"); a.status != 200 || a.body != "ok" {
			t.Errorf("%d %q", a.status, a.body)
		}
		if a := f.await(waits); a.body != "6" {
			t.Errorf("the poll got %q", a.body)
		}
		o.expectMessage("last")
		o.expectClose(ReasonTransportClose)
		if len(o.messages) != 0 {
			t.Error("message after the close packet")
		}
	})
	t.Run("with a poll that comes at once", func(t *testing.T) {
		f := newFixture(t, plain, Config{})
		query, o := f.openPolling()
		f.post(query, "1")
		// it has 30 ms to come
		if a := f.get(query); a.status != 200 && a.status != 400 || a.status == 200 && a.body != "6" {
			t.Errorf("the poll got %d %q", a.status, a.body)
		}
		o.expectClose(ReasonTransportClose)
	})
}

func TestServerClosesPolling(t *testing.T) {
	t.Run("with a poll that waits", func(t *testing.T) {
		f := newFixture(t, plain, Config{})
		query, o := f.openPolling()
		waits := f.goGet(query)
		o.waiting()
		o.Close(false)
		if a := f.await(waits); a.body != "1" {
			t.Errorf("the poll got %q", a.body)
		}
		o.expectClose(ReasonForcedClose)
	})
	t.Run("with something queued", func(t *testing.T) {
		f := newFixture(t, plain, Config{})
		query, o := f.openPolling()
		o.Send(TextFrame([]byte("a")), TextFrame([]byte("b")))
		o.Close(false)
		if o.State() != Closing {
			t.Error(o.State())
		}
		if a := f.get(query); a.body != "4a\x1e4b" {
			t.Errorf("the first poll got %q", a.body)
		}
		if a := f.get(query); a.body != "1" {
			t.Errorf("the second poll got %q", a.body)
		}
		o.expectClose(ReasonForcedClose)
		if a := f.get(query); a.status != 400 {
			t.Errorf("the third poll got %d", a.status)
		}
	})
	t.Run("discarding", func(t *testing.T) {
		f := newFixture(t, plain, Config{})
		query, o := f.openPolling()
		o.Send(TextFrame([]byte("a")))
		o.Close(true)
		o.expectClose(ReasonForcedClose)
		if a := f.get(query); a.status != 400 {
			t.Errorf("the poll got %d", a.status)
		}
	})
}

func TestCookieAndHooks(t *testing.T) {
	var initial, every int
	f := newFixture(t, plain, Config{
		Cookie: &http.Cookie{
			Name: "sid", Path: "/", HttpOnly: true, SameSite: http.SameSiteLaxMode, Secure: true, MaxAge: 60,
		},
		Hooks: Hooks{
			InitialHeaders: func(h http.Header, _ *http.Request) { initial++; h.Set("X-Initial", "1") },
			Headers:        func(h http.Header, _ *http.Request) { every++; h.Set("X-Every", "1") },
		},
	})
	a := f.get("EIO=4&transport=polling")
	o := f.owner()
	want := "sid=" + o.ID() + "; Path=/; Max-Age=60; HttpOnly; Secure; SameSite=Lax"
	if a.header.Get("Set-Cookie") != want {
		t.Errorf("cookie %q", a.header.Get("Set-Cookie"))
	}
	if a.header.Get("X-Initial") == "" || a.header.Get("X-Every") == "" {
		t.Errorf("headers %v", a.header)
	}
	a = f.post("EIO=4&transport=polling&sid="+o.ID(), "4x")
	if a.header.Get("Set-Cookie") != "" || a.header.Get("X-Initial") != "" || a.header.Get("X-Every") == "" {
		t.Errorf("headers %v", a.header)
	}
	_, resp, err := f.tryDial("EIO=4&transport=websocket")
	if err != nil || resp.Header.Get("X-Initial") == "" || resp.Header.Get("X-Every") == "" {
		t.Errorf("headers of a WebSocket: %v %v", resp, err)
	}
	if initial != 2 || every != 3 {
		t.Errorf("hooks: %d %d", initial, every)
	}
}

// Headers that something in front has set are in every answer.
func TestHeadersOfMiddleware(t *testing.T) {
	d := plain
	d.transport = func(h http.Handler) *httptest.Server {
		return httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("X-Middleware", "line\r\nX-Bad: 1")
			h.ServeHTTP(w, r)
		}))
	}
	f := newFixture(t, d, Config{})
	if a := f.get("EIO=4&transport=polling"); a.header.Get("X-Middleware") == "" {
		t.Errorf("polling: %v", a.header)
	}
	_, resp, err := f.tryDial("EIO=4&transport=websocket")
	if err != nil || resp.Header.Get("X-Middleware") == "" || resp.Header.Get("X-Bad") != "" {
		t.Errorf("websocket: %v %v", resp, err)
	}
}

func TestGzip(t *testing.T) {
	f := newFixture(t, plain, Config{HTTPCompression: &Compression{Threshold: 200}}, echoing)
	query, o := f.openPolling()
	long := strings.Repeat("x", 500)
	poll := func(accept string) (string, string) {
		t.Helper()
		a := f.do("GET", query, "", "Accept-Encoding", accept)
		if a.header.Get("Content-Encoding") != "gzip" {
			return a.body, ""
		}
		z, err := gzip.NewReader(strings.NewReader(a.body))
		if err != nil {
			t.Fatal(err)
		}
		b, err := io.ReadAll(z)
		if err != nil {
			t.Fatal(err)
		}
		return string(b), "gzip"
	}
	for _, c := range []struct {
		frame  *Frame
		accept string
		coding string
	}{
		{TextFrame([]byte(long)), "gzip, deflate, br", "gzip"},
		{TextFrame([]byte(long)), "br, gzip;q=0.5", "gzip"},
		{TextFrame([]byte(long)), "*", "gzip"},
		{TextFrame([]byte(long)), "gzip;q=0", ""},
		{TextFrame([]byte(long)), "identity", ""},
		{TextFrame([]byte("short")), "gzip", ""},
		{TextFrame([]byte(long)).Uncompressed(), "gzip", ""},
	} {
		o.Send(c.frame)
		if body, coding := poll(c.accept); body != "4"+string(c.frame.Data()) || coding != c.coding {
			t.Errorf("%s: %q with %q", c.accept, coding, body)
		}
	}
}

func TestTransports(t *testing.T) {
	f := newFixture(t, plain, Config{Transports: []string{WebSocket}})
	if a := f.get("EIO=4&transport=polling"); a.status != 400 || !strings.Contains(a.body, `"code":0`) {
		t.Errorf("%d %s", a.status, a.body)
	}
	f.openWS()
	f = newFixture(t, plain, Config{Transports: []string{Polling}})
	if d := f.parseOpen(f.get("EIO=4&transport=polling").body); len(d.Upgrades) != 0 {
		t.Errorf("%+v", d)
	}
	if _, resp, err := f.tryDial("EIO=4&transport=websocket"); err != nil || resp.StatusCode != 400 {
		t.Errorf("%v %v", resp, err)
	}
	for _, bad := range []Config{{Transports: []string{"webtransport"}}, {Cookie: &http.Cookie{Name: "a b"}}} {
		if _, err := NewServer(bad, nil); err == nil {
			t.Errorf("%+v is accepted", bad)
		}
	}
}

func TestIDs(t *testing.T) {
	id := "one"
	f := newFixture(t, plain, Config{GenerateID: func(*http.Request) (string, error) {
		if id == "" {
			return "", errors.New("no id")
		}
		return id, nil
	}})
	_, o := f.openPolling()
	if o.ID() != "one" {
		t.Error(o.ID())
	}
	for range 2 {
		if a := f.get("EIO=4&transport=polling"); a.status != 400 {
			t.Errorf("%d %s", a.status, a.body)
		}
		id = ""
	}
	a, _ := generateID(nil)
	b, _ := generateID(nil)
	if len(a) != 20 || a == b {
		t.Errorf("%q %q", a, b)
	}
}

func TestInitialPacket(t *testing.T) {
	overDrivers(t, func(t *testing.T, d driver) {
		f := newFixture(t, d, Config{InitialPacket: TextFrame([]byte("welcome"))}, func(f *fixture) {
			f.onOpen = func(o *owner) { o.Send(TextFrame([]byte("open"))) }
		})
		if a := f.get("EIO=4&transport=polling"); !strings.HasSuffix(a.body, "}\x1e4welcome\x1e4open") {
			t.Errorf("%q", a.body)
		}
		p := f.dial("EIO=4&transport=websocket")
		p.expectOpen()
		p.expectText("4welcome")
		p.expectText("4open")
	})
}

// A client that does not read the answer to its poll is given up, whether the kernel takes all of the answer or not.
func TestPollNotRead(t *testing.T) {
	t.Parallel()
	t.Run("small", func(t *testing.T) { pollNotRead(t, 64<<10, ReasonPingTimeout) })
	t.Run("large", func(t *testing.T) { pollNotRead(t, 30<<20, ReasonTransportError) })
}

func pollNotRead(t *testing.T, size int, reason string) {
	f := newFixture(t, plain, Config{PingInterval: 200 * time.Millisecond, PingTimeout: time.Second})
	query, o := f.openPolling()
	o.Send(TextFrame(bytes.Repeat([]byte("x"), size)))
	nc, err := net.Dial("tcp", f.http.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	fmt.Fprintf(nc, "GET /engine.io/?%s HTTP/1.1\r\nHost: x\r\n\r\n", query)
	o.expectClose(reason)
}
