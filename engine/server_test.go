package engine

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"runtime"
	"strings"
	"sync"
	"testing"
	"testing/fstest"
	"time"

	epacket "github.com/zishang520/engine.io-go-parser/packet"
	eng "github.com/zishang520/engine.io/v2/engine"
	"github.com/zishang520/engine.io/v2/types"
	"github.com/zishang520/engine.io/v2/utils"
	"github.com/zishang520/socket.io/v2/socket"

	"github.com/architus/guildcast/internal/test/wait"
)

func get(t testing.TB, url string) (status int, body string) {
	t.Helper()
	return fetch(t, http.DefaultClient, url)
}

func fetch(t testing.TB, client *http.Client, url string) (status int, body string) {
	t.Helper()
	res, err := client.Get(url)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return res.StatusCode, string(b)
}

func TestUnsupportedTransport(t *testing.T) {
	for _, set := range []*types.Set[string]{
		types.NewSet("polling", "webtransport"), types.NewSet("carrier pigeon"), types.NewSet[string](),
	} {
		opts := socket.DefaultServerOptions()
		opts.SetTransports(set)
		if _, _, err := New(opts, Options{}); !errors.Is(err, ErrTransport) {
			t.Errorf("%v: %v", set.Keys(), err)
		}
	}
	defer func() {
		if recover() == nil {
			t.Error("NewServer does not panic")
		}
	}()
	opts := socket.DefaultServerOptions()
	opts.SetTransports(types.NewSet("webtransport"))
	NewServer(opts, Options{})
}

func TestOptionsAreNotChanged(t *testing.T) {
	opts := socket.DefaultServerOptions()
	s := serve(t, opts, Options{}, nil)
	if opts.GetRawAdapter() != nil || opts.GetRawParser() != nil {
		t.Error("options are changed")
	}
	if s.Opts() == socket.ServerOptionsInterface(opts) {
		t.Error("options are shared")
	}
}

func TestNilOptions(t *testing.T) {
	io, h := NewServer(nil, Options{})
	front := httptest.NewServer(h)
	defer front.Close()
	if status, _ := get(t, front.URL+"/socket.io/?EIO=4&transport=polling"); status != http.StatusOK {
		t.Error(status)
	}
	if n := io.Engine().ClientsCount(); n != 1 || io.Engine().Clients().Len() != 1 {
		t.Errorf("%d clients", n)
	}
	if err := h.Shutdown(t.Context()); err != nil {
		t.Error(err)
	}
}

func TestPath(t *testing.T) {
	for _, c := range []struct {
		path    string
		noSlash bool
		url     string
		status  int
	}{
		{"", false, "/socket.io/?EIO=4&transport=polling", 200},
		{"", false, "/other/?EIO=4&transport=polling", 404},
		{"", false, "/socket.io?EIO=4&transport=polling", 404},
		{"/ws/", false, "/ws/?EIO=4&transport=polling", 200},
		{"/ws", true, "/ws?EIO=4&transport=polling", 200},
		{"", false, "/socket.io/", 400},
		{"", false, "/socket.io/?EIO=4&transport=nonsense", 400},
		{"", false, "/socket.io/?EIO=3&transport=polling", 400},
		{"", false, "/socket.io/?EIO=4&transport=polling&sid=none", 400},
		{"", false, "/socket.io/socket.io.js", 400}, // files are not served unless asked for
	} {
		opts := socket.DefaultServerOptions()
		if c.path != "" {
			opts.SetPath(c.path)
		}
		if c.noSlash {
			opts.SetAddTrailingSlash(false)
		}
		s := serve(t, opts, Options{}, nil)
		if status, body := get(t, s.http.URL+c.url); status != c.status {
			t.Errorf("path %q: %s is %d %s, want %d", c.path, c.url, status, body, c.status)
		}
		s.stop()
	}
}

func TestCORS(t *testing.T) {
	opts := socket.DefaultServerOptions()
	opts.SetCors(&types.Cors{Origin: "https://app.example", Credentials: true})
	s := serve(t, opts, Options{}, nil)
	url := s.http.URL + "/socket.io/?EIO=4&transport=polling"
	for _, method := range []string{http.MethodOptions, http.MethodGet} {
		req, _ := http.NewRequest(method, url, nil)
		req.Header.Set("Origin", "https://app.example")
		res, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		res.Body.Close()
		if got := res.Header.Get("Access-Control-Allow-Origin"); got != "https://app.example" ||
			res.Header.Get("Access-Control-Allow-Credentials") != "true" {
			t.Errorf("%s: %v", method, res.Header)
		}
		if want := map[string]int{http.MethodOptions: 204, http.MethodGet: 200}[method]; res.StatusCode != want {
			t.Errorf("%s: status %d", method, res.StatusCode)
		}
	}
}

func TestCORSForeignOrigin(t *testing.T) {
	opts := socket.DefaultServerOptions()
	opts.SetCors(&types.Cors{Origin: []any{"https://a.example", "https://b.example"}})
	s := serve(t, opts, Options{}, nil)
	for origin, want := range map[string]string{"https://b.example": "https://b.example", "https://c.example": ""} {
		req, _ := http.NewRequest(http.MethodGet, s.http.URL+"/socket.io/?EIO=4&transport=polling", nil)
		req.Header.Set("Origin", origin)
		res, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		res.Body.Close()
		if got := res.Header.Get("Access-Control-Allow-Origin"); got != want {
			t.Errorf("%s: %q is allowed", origin, got)
		}
	}
}

func TestConnectionErrorOfProtocol(t *testing.T) {
	s := serve(t, nil, Options{}, nil)
	failures := make(chan *types.ErrorMessage, 1)
	_ = s.Engine().On("connection_error", func(args ...any) { failures <- args[0].(*types.ErrorMessage) })
	if status, body := get(t, s.http.URL+"/socket.io/?EIO=3&transport=polling"); status != http.StatusBadRequest ||
		body != `{"code":5,"message":"Unsupported protocol version"}` {
		t.Error(status, body)
	}
	if e := receive(t, failures, "connection_error"); e.Code != 5 || e.Message != "Unsupported protocol version" {
		t.Error(e.CodeMessage)
	}
}

func TestMiddlewaresOfEngine(t *testing.T) {
	s := serve(t, nil, Options{}, nil)
	failures := make(chan *types.ErrorMessage, 1)
	_ = s.Engine().On("connection_error", func(args ...any) { failures <- args[0].(*types.ErrorMessage) })
	s.Engine().Use(func(ctx *types.HttpContext, next func(error)) {
		ctx.ResponseHeaders.Set("X-Test", "1")
		switch ctx.Query().Peek("do") {
		case "fail":
			next(errors.New("no"))
		case "answer":
			ctx.SetStatusCode(http.StatusTeapot)
			_, _ = ctx.Write([]byte("short and stout"))
		default:
			go next(nil)
		}
	})
	url := s.http.URL + "/socket.io/?EIO=4&transport=polling"
	res, err := http.Get(url)
	if err != nil {
		t.Fatal(err)
	}
	res.Body.Close()
	if res.StatusCode != 200 || res.Header.Get("X-Test") != "1" {
		t.Error(res.Status, res.Header)
	}
	if status, body := get(t, url+"&do=fail"); status != 400 || !strings.Contains(body, `"code":3`) {
		t.Error(status, body)
	}
	if e := receive(t, failures, "connection_error"); e.CodeMessage != eng.BAD_REQUEST ||
		e.Context["name"] != "MIDDLEWARE_FAILURE" {
		t.Error(e)
	}
	if status, body := get(t, url+"&do=answer"); status != http.StatusTeapot || body != "short and stout" {
		t.Error(status, body)
	}
}

func TestAllowRequest(t *testing.T) {
	opts := socket.DefaultServerOptions()
	opts.SetAllowRequest(func(ctx *types.HttpContext) error {
		if ctx.Query().Peek("token") != "x" {
			return errors.New("no token")
		}
		return nil
	})
	s := serve(t, opts, Options{}, nil)
	failures := make(chan *types.ErrorMessage, 1)
	_ = s.Engine().On("connection_error", func(args ...any) { failures <- args[0].(*types.ErrorMessage) })
	url := s.http.URL + "/socket.io/?EIO=4&transport=polling"
	if status, body := get(t, url); status != http.StatusForbidden || body != `{"code":4,"message":"no token"}` {
		t.Error(status, body)
	}
	if e := receive(t, failures, "connection_error"); e.CodeMessage != eng.FORBIDDEN ||
		e.Req.Query().Peek("transport") != "polling" {
		t.Error(e.CodeMessage)
	}
	if status, _ := get(t, url+"&token=x"); status != http.StatusOK {
		t.Error(status)
	}
}

func TestClientFiles(t *testing.T) {
	opts := socket.DefaultServerOptions()
	opts.SetServeClient(true)
	s := serve(t, opts, Options{ClientFiles: fstest.MapFS{
		"socket.io.min.js": {Data: []byte("client")}, "secret": {Data: []byte("secret")},
	}}, nil)
	if status, body := get(t, s.http.URL+"/socket.io/socket.io.min.js"); status != 200 || body != "client" {
		t.Error(status, body)
	}
	for _, name := range []string{"socket.io.js", "secret", "../secret", "socket.io.min.js.map"} {
		if status, body := get(t, s.http.URL+"/socket.io/"+name); status == 200 {
			t.Errorf("%s: %s", name, body)
		}
	}
	res, err := http.Get(s.http.URL + "/socket.io/socket.io.min.js")
	if err != nil {
		t.Fatal(err)
	}
	res.Body.Close()
	etag := res.Header.Get("ETag")
	if typ := res.Header.Get("Content-Type"); etag == "" || !strings.HasPrefix(typ, "application/javascript") {
		t.Errorf("etag %q, type %q", etag, typ)
	}
	again, err := http.NewRequest(http.MethodGet, s.http.URL+"/socket.io/socket.io.min.js", nil)
	if err != nil {
		t.Fatal(err)
	}
	again.Header.Set("If-None-Match", etag)
	if res, err = http.DefaultClient.Do(again); err != nil {
		t.Fatal(err)
	}
	res.Body.Close()
	if res.StatusCode != http.StatusNotModified {
		t.Errorf("the same file again: %s", res.Status)
	}
	res, err = http.Post(s.http.URL+"/socket.io/socket.io.min.js", "", nil)
	if err != nil {
		t.Fatal(err)
	}
	res.Body.Close()
	if res.StatusCode != http.StatusMethodNotAllowed {
		t.Error(res.Status)
	}
}

// The text is that of Node.js: TZ=UTC node -p 'new Date(1790000000123) + ""'.
func TestDateText(t *testing.T) {
	if got := dateText(1790000000123); got != "Mon Sep 21 2026 14:13:20 GMT+0000 (Coordinated Universal Time)" {
		t.Error(got)
	}
}

func TestHandshakeAndRequest(t *testing.T) {
	type key struct{}
	type seen struct {
		h       *socket.Handshake
		s       *socket.Socket
		value   any
		request *types.HttpContext
	}
	got := make(chan seen, 2)
	io, h := NewServer(nil, Options{})
	var inMiddleware string
	io.Use(func(s *socket.Socket, next func(*socket.ExtendedError)) {
		inMiddleware = s.Handshake().Time
		next(nil)
	})
	onConnection(io.Sockets(), func(s *socket.Socket) {
		got <- seen{s.Handshake(), s, s.Request().Request().Context().Value(key{}), s.Request()}
	})
	front := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h.ServeHTTP(w, r.WithContext(context.WithValue(r.Context(), key{}, "value")))
	}))
	front.TLS.MinVersion = tls.VersionTLS12
	defer front.Close()
	defer func() { _ = h.Shutdown(context.Background()) }()
	p := openPolling(t, front.URL+"/socket.io/?EIO=4&transport=polling&x=%C3%A9", front.Client())
	p.post(t, "40")
	p.poll(t)
	x := receive(t, got, "connection")
	if want := dateText(x.h.Issued); x.h.Time != want || inMiddleware != want {
		t.Errorf("time %q, in a middleware %q, want %q", x.h.Time, inMiddleware, want)
	}
	if x.value != "value" {
		t.Error("the context's value is lost")
	}
	if x.h.Query["x"][0] != "é" || !x.h.Secure || x.h.Headers["User-Agent"] == nil || x.h.Address == "" ||
		!strings.HasPrefix(x.h.Url, "/socket.io/?") {
		t.Errorf("handshake %+v", x.h)
	}
	if x.request != x.s.Request() {
		t.Error("the request is not the same as long as it is held")
	}
	runtime.KeepAlive(x.request)
	x.h.Headers["Added"] = []string{"1"}
	x.request = nil
	runtime.GC()
	runtime.GC()
	if got := x.s.Request().Headers().Peek("Added"); got != "1" {
		t.Error("request and handshake do not share the headers")
	}
	if r := x.s.Request(); r.Request().URL.Path != "/socket.io/" || r.Method() != "GET" ||
		r.Query().Peek("EIO") != "4" || !r.Secure() {
		t.Error("request")
	}
}

func TestHeadersEvents(t *testing.T) {
	s := serve(t, nil, Options{}, nil)
	_ = s.Engine().On("initial_headers", func(args ...any) {
		args[0].(*utils.ParameterBag).Set("X-Initial", args[1].(*types.HttpContext).Query().Peek("transport"))
	})
	_ = s.Engine().On("headers", func(args ...any) { args[0].(*utils.ParameterBag).Set("X-Every", "1") })
	res, err := http.Get(s.http.URL + "/socket.io/?EIO=4&transport=polling")
	if err != nil {
		t.Fatal(err)
	}
	res.Body.Close()
	if res.Header.Get("X-Initial") != "polling" || res.Header.Get("X-Every") != "1" {
		t.Error(res.Header)
	}
}

func TestEngineSocketEvents(t *testing.T) {
	var mu sync.Mutex
	seen := map[string]int{}
	note := func(name string) { mu.Lock(); seen[name]++; mu.Unlock() }
	s := serve(t, nil, Options{}, func(s *socket.Socket) {
		_ = s.On("e", func(args ...any) { ackOf(args)(nil, nil) })
		for _, name := range []string{"packet", "packetCreate"} {
			_ = s.Conn().On(types.EventName(name), func(args ...any) {
				if p := args[0].(*epacket.Packet); p.Type == epacket.MESSAGE {
					note(name)
				}
			})
		}
		for _, name := range []string{"flush", "drain", "data", "message", "close"} {
			_ = s.Conn().On(types.EventName(name), func(...any) { note(name) })
		}
		_ = s.Emit("ready")
	})
	_ = s.Engine().On("flush", func(...any) { note("server flush") })
	_ = s.Engine().Once("drain", func(...any) { note("server drain") })
	c := s.connect(t, "")
	c.expect(`42["ready"]`)
	c.send(`421["e"]`)
	c.expect("431[]")
	c.close()
	all := []string{
		"packet", "packetCreate", "flush", "drain", "data", "message", "close", "server flush", "server drain",
	}
	wait.Until(t, "all events", func() bool {
		mu.Lock()
		defer mu.Unlock()
		for _, name := range all {
			if seen[name] == 0 {
				return false
			}
		}
		return true
	})
}

func TestEngineSocket(t *testing.T) {
	conns := make(chan eng.Socket, 1)
	s := serve(t, nil, Options{}, func(s *socket.Socket) { conns <- s.Conn() })
	c := s.connect(t, "")
	conn := receive(t, conns, "connection")
	if conn.Protocol() != 4 || conn.ReadyState() != "open" || conn.Transport().Name() != "websocket" ||
		conn.Upgraded() || conn.RemoteAddress() == "" {
		t.Error(conn.Id(), conn.ReadyState(), conn.Transport().Name())
	}
	if !conn.Transport().Writable() || conn.Transport().MaxHttpBufferSize() != 1e6 ||
		conn.Transport().Parser().Protocol() != 4 {
		t.Error("transport")
	}
	conn.Send(types.NewStringBufferString("raw"), nil, nil)
	conn.Write(strings.NewReader("raw 2"), nil, nil)
	conn.Write(types.NewBytesBuffer([]byte{1}), nil, nil)
	c.expect("4raw")
	c.expect("4raw 2")
	c.expect("\x01")
	if x, ok := s.Engine().Clients().Load(conn.Id()); !ok || x != conn {
		t.Error("not among the clients")
	}
	closed := make(chan any, 1)
	_ = conn.Once("close", func(args ...any) { closed <- args[0] })
	conn.Close(false)
	c.expectClosed()
	if got := receive(t, closed, "close"); got != "forced close" {
		t.Errorf("reason %v", got)
	}
}

func TestEngineSocketUpgrades(t *testing.T) {
	conns := make(chan eng.Socket, 1)
	s := serve(t, nil, Options{}, nil)
	_ = s.Engine().On("connection", func(args ...any) { conns <- args[0].(eng.Socket) })
	sid := sidOf.FindStringSubmatch(s.get(t, "/socket.io/?EIO=4&transport=polling"))[1]
	conn := receive(t, conns, "connection")
	expect := func(upgrading, upgraded bool) {
		t.Helper()
		if conn.Upgrading() != upgrading || conn.Upgraded() != upgraded {
			t.Errorf("upgrading %v, upgraded %v; want %v, %v", conn.Upgrading(), conn.Upgraded(), upgrading, upgraded)
		}
	}
	expect(false, false)
	w := s.webSocket(t, "EIO=4&sid="+sid)
	w.send("2probe")
	w.expect("3probe")
	expect(true, false)
	w.send("5", "2") // a ping in revision 4 ends the session: the upgrade has been handled then
	w.expectClosed()
	expect(false, true)
}

// Shutdown closes clients in a way that makes them connect again, spread over the time, and leaves nothing behind.
func TestShutdown(t *testing.T) {
	const n = 20
	var mu sync.Mutex
	reasons := map[string]int{}
	closed := false
	adapters := closeNoter{AdapterBuilder{}, func() { closed = true }}
	opts := socket.DefaultServerOptions()
	opts.SetAdapter(adapters)
	io, h := NewServer(opts, Options{})
	front := httptest.NewServer(h)
	defer front.Close()
	onConnection(io.Sockets(), func(s *socket.Socket) {
		_ = s.On("disconnect", func(args ...any) { mu.Lock(); reasons[fmt.Sprint(args[0])]++; mu.Unlock() })
	})
	s := &testServer{Server: io, handler: h, http: front}
	clients := make([]*wire, n)
	for i := range clients {
		clients[i] = s.connect(t, "")
	}
	ends := make(chan time.Time, n)
	for _, c := range clients {
		go func() {
			for {
				m, _, err := c.next()
				if err != nil {
					ends <- time.Now()
					return
				}
				if m == "41" {
					t.Error("told to stay away")
				}
			}
		}()
	}
	wait.Until(t, "all connected", func() bool { return io.Sockets().Sockets().Len() == n })
	ctx, cancel := context.WithTimeout(context.Background(), testTimeout)
	defer cancel()
	done := make(chan error, 1)
	go func() { done <- h.Shutdown(ctx) }()
	first := receive(t, ends, "end of a client")
	if status, _ := get(t, front.URL+"/socket.io/?EIO=4&transport=polling"); status != http.StatusServiceUnavailable {
		t.Errorf("new client: status %d", status)
	}
	status, _ := get(t, front.URL+"/socket.io/?EIO=4&transport=polling&sid=of-another-node")
	if status != http.StatusServiceUnavailable {
		t.Errorf("session of another node: status %d", status)
	}
	last := first
	for range n - 1 {
		last = receive(t, ends, "end of a client")
	}
	if err := receive(t, done, "end of Shutdown"); err != nil {
		t.Error(err)
	}
	if d := last.Sub(first); d < 300*time.Millisecond {
		t.Errorf("closed over %v", d)
	}
	mu.Lock()
	defer mu.Unlock()
	if reasons["server shutting down"] != n || !closed {
		t.Errorf("reasons %v, adapter closed %v", reasons, closed)
	}
}

type closeNoter struct {
	socket.AdapterConstructor
	closed func()
}

type notedAdapter struct {
	*Adapter
	closed func()
}

func (a notedAdapter) Close() { a.closed() }

func (n closeNoter) New(nsp socket.Namespace) socket.Adapter {
	a := notedAdapter{MakeAdapter(), n.closed}
	a.Prototype(a)
	a.Construct(nsp)
	return a
}

// io.Close ends all, as in Node.js.
func TestServerClose(t *testing.T) {
	reasons, connected := make(chan any, 1), make(chan struct{}, 1)
	s := serve(t, nil, Options{}, func(s *socket.Socket) {
		_ = s.On("disconnect", func(args ...any) { reasons <- args[0] })
		connected <- struct{}{}
	})
	c := s.connect(t, "")
	receive(t, connected, "connection")
	s.Close(nil)
	if got := receive(t, reasons, "disconnect"); got != "server shutting down" {
		t.Errorf("reason %v", got)
	}
	c.expectClosed()
}

// What is queued for a client is sent before Shutdown closes it.
// A few connections are closed one after the other as well, and not as slowly as the time would allow.
func TestShutdownOfAFew(t *testing.T) {
	io, h := NewServer(nil, Options{})
	front := httptest.NewServer(h)
	defer front.Close()
	s := &testServer{Server: io, handler: h, http: front}
	for range 4 {
		c := s.connect(t, "")
		go func() {
			for {
				if _, _, err := c.next(); err != nil {
					return
				}
			}
		}()
	}
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Minute)
	defer cancel()
	start := time.Now()
	if err := h.Shutdown(ctx); err != nil {
		t.Error(err)
	}
	if d := time.Since(start); d < 3*drainPause || d > time.Minute {
		t.Errorf("took %v", d)
	}
}

// Clients that wait for answers to the end are closed before it, one after the other.
func TestShutdownOfBusyClients(t *testing.T) {
	const n, grace = 20, 4 * time.Second
	_, h := NewServer(nil, Options{Busy: func(*Conn) bool { return true }})
	front := httptest.NewServer(h)
	defer front.Close()
	s := &testServer{handler: h, http: front}
	ends := make(chan time.Time, n)
	for range n {
		c := s.connect(t, "")
		go func() {
			for {
				if _, _, err := c.next(); err != nil {
					ends <- time.Now()
					return
				}
			}
		}()
	}
	ctx, cancel := context.WithTimeout(context.Background(), grace)
	defer cancel()
	began, done := time.Now(), make(chan error, 1)
	go func() { done <- h.Shutdown(ctx) }()
	first := receive(t, ends, "end of a client").Sub(began)
	last := first
	for range n - 1 {
		last = receive(t, ends, "end of a client").Sub(began)
	}
	if err := receive(t, done, "end of Shutdown"); err != nil {
		t.Error(err)
	}
	if first < share(grace, drainShare) || last < share(grace, holdShare) {
		t.Errorf("closed from %v to %v", first, last)
	}
}

// A polling client that has left without a word, and for which something is queued, does not hold up the others.
func TestShutdownOfOneThatLeft(t *testing.T) {
	io, h := NewServer(nil, Options{})
	front := httptest.NewServer(h)
	defer front.Close()
	connected := make(chan struct{}, 1)
	onConnection(io.Sockets(), func(*socket.Socket) { connected <- struct{}{} })
	s := &testServer{Server: io, handler: h, http: front}
	opened := s.get(t, "/socket.io/?EIO=4&transport=polling")
	_, rest, _ := strings.Cut(opened, `"sid":"`)
	sid, _, _ := strings.Cut(rest, `"`)
	s.post(t, "/socket.io/?EIO=4&transport=polling&sid="+sid, "40")
	receive(t, connected, "connection")
	s.get(t, "/socket.io/?EIO=4&transport=polling&sid="+sid) // which is answered at once
	io.Emit("e", "which nobody fetches")
	ctx, cancel := context.WithTimeout(context.Background(), 40*time.Second)
	defer cancel()
	start := time.Now()
	if err := h.Shutdown(ctx); err != nil {
		t.Error(err)
	}
	if took := time.Since(start); took > 20*time.Second {
		t.Errorf("took %v", took)
	}
}

func TestShutdownFlushes(t *testing.T) {
	io, h := NewServer(nil, Options{})
	front := httptest.NewServer(h)
	defer front.Close()
	s := &testServer{Server: io, handler: h, http: front}
	c := s.connect(t, "")
	for i := range 200 {
		io.Emit("e", i, strings.Repeat("x", 10_000))
	}
	done := make(chan error, 1)
	go func() { done <- h.Shutdown(context.Background()) }()
	for i := range 200 {
		c.expectPrefix(fmt.Sprintf(`42["e",%d,`, i))
	}
	c.expectClosed()
	if err := receive(t, done, "end of Shutdown"); err != nil {
		t.Error(err)
	}
	if st := h.Stats(); st.WebSocket != 0 || st.SlowConsumers != 0 {
		t.Errorf("%+v", st)
	}
}

// io.Close alone ends all goroutines too.
func TestCloseAlone(t *testing.T) {
	io, h := NewServer(nil, Options{})
	front := httptest.NewServer(h)
	defer front.Close()
	s := &testServer{Server: io, handler: h, http: front}
	c := s.connect(t, "")
	io.Close(nil)
	c.expectClosed()
	wait.Until(t, "closed", func() bool { return io.Engine().ClientsCount() == 0 })
}
