//go:build integration

package integration

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"log/slog"
	"math/big"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	eng "github.com/zishang520/engine.io/v2/engine"
	"github.com/zishang520/engine.io/v2/types"
	"github.com/zishang520/socket.io/v2/socket"

	"github.com/architus/guildcast/engine"
)

// TestConform runs each scenario of node/conform against a Socket.IO server of Node.js and against one of the engine.
// Both do the same (conformApp), and what the clients see, with what the servers log, must be the same.
func TestConform(t *testing.T) {
	c := startConform(t)
	for _, s := range c.scenarios {
		t.Run(s.Name, func(t *testing.T) {
			t.Parallel()
			c.slots <- struct{}{}
			defer func() { <-c.slots }()
			// On a busy machine an answer comes after a scenario has stopped waiting for it, and of requests that are
			// under way together the later may arrive first. So what differs is tried again, with more patience.
			var problem string
			for _, patience := range []int{1, 2, 4} {
				if problem = c.compare(t, s, patience); problem == "" {
					return
				}
				t.Logf("with patience %d: %s", patience, problem)
			}
			t.Error(problem)
		})
	}
}

// compare runs a scenario against both servers, and says what is wrong.
func (c *conform) compare(t *testing.T, s scenario, patience int) string {
	var wg sync.WaitGroup
	var want, got []string
	wg.Go(func() { want = c.run(t, s, c.openNode(t, s), patience) })
	wg.Go(func() { got = c.run(t, s, c.openEngine(t, s), patience) })
	wg.Wait()
	return s.compare(want, got)
}

// conform holds the processes of the comparison.
type conform struct {
	servers, runner *process
	scenarios       []scenario
	slots           chan struct{} // scenarios at the same time
	key, cert       string        // files

	mu      sync.Mutex
	next    int
	answers map[int]chan []byte // guarded by mu; by the id of what was asked
}

type scenario struct {
	Name    string
	Options json.RawMessage
	Differs map[string]string // by what lines begin with: why the engine is meant to differ
}

// compare says what is wrong with two transcripts, that of Node and that of the engine.
func (s scenario) compare(want, got []string) string {
	if len(want) == 0 {
		return "the scenario shows nothing"
	}
	if i := slices.IndexFunc(want, func(l string) bool { return strings.HasPrefix(l, "FAILED") }); i >= 0 {
		return "the scenario itself: " + strings.Join(want, "\n")
	}
	for start := range s.Differs {
		if slices.Equal(beginWith(want, start), beginWith(got, start)) {
			return fmt.Sprintf("the engine does not differ in %q any more: %q", start, beginWith(got, start))
		}
	}
	a, b := slices.DeleteFunc(slices.Clone(want), s.meant), slices.DeleteFunc(slices.Clone(got), s.meant)
	if !slices.Equal(a, b) {
		return "the engine differs from Node (-) in\n" + difference(a, b)
	}
	return ""
}

// meant tells whether a line is one of those that are meant to differ.
func (s scenario) meant(line string) bool {
	for start := range s.Differs {
		if strings.HasPrefix(line, start) {
			return true
		}
	}
	return false
}

func beginWith(lines []string, start string) (found []string) {
	for _, l := range lines {
		if strings.HasPrefix(l, start) {
			found = append(found, l)
		}
	}
	return found
}

// target is a server that a scenario is run against.
type target struct {
	Port  int  `json:"port"`
	Admin int  `json:"admin"`
	TLS   bool `json:"tls"`
}

func startConform(t *testing.T) *conform {
	c := &conform{slots: make(chan struct{}, 4), answers: map[int]chan []byte{}}
	c.makeCertificate(t)
	ready := make(chan struct{}, 2)
	handle := func(line []byte) {
		var head struct {
			ID        int
			Type      string
			Scenarios []scenario
		}
		if err := json.Unmarshal(line, &head); err != nil {
			panic(fmt.Sprintf("line %q: %v", line, err))
		}
		if head.Type != "" {
			if head.Scenarios != nil {
				c.scenarios = head.Scenarios
			}
			ready <- struct{}{}
			return
		}
		c.mu.Lock()
		answer := c.answers[head.ID]
		delete(c.answers, head.ID)
		c.mu.Unlock()
		answer <- bytes.Clone(line)
	}
	c.servers = start(t, "servers", nil, handle, "node", "nodejs/conform/server.mjs")
	c.runner = start(t, "scenarios", nil, handle, "node", "nodejs/conform/run.mjs")
	for range 2 {
		select {
		case <-ready:
		case <-time.After(30 * time.Second):
			t.Fatalf("the peers did not start:\n%s\n%s", c.servers.output(), c.runner.output())
		}
	}
	return c
}

// ask sends a command to a process and decodes its answer into v.
func (c *conform) ask(t *testing.T, p *process, command map[string]any, v any) (id int) {
	answer := make(chan []byte, 1)
	c.mu.Lock()
	c.next++
	id = c.next
	c.answers[id] = answer
	command["id"] = id
	line, _ := json.Marshal(command)
	_, err := p.in.Write(append(line, '\n'))
	c.mu.Unlock()
	if err != nil {
		t.Errorf("%s: %v", p.name, err)
		return id
	}
	select {
	case line := <-answer:
		if err := json.Unmarshal(line, v); err != nil {
			t.Errorf("%s: %v", line, err)
		}
	case <-p.done:
		t.Errorf("%s ended:\n%s", p.name, p.output())
	case <-time.After(60 * time.Second):
		t.Errorf("%s did not answer:\n%s", p.name, p.output())
	}
	return id
}

func (c *conform) run(t *testing.T, s scenario, to target, patience int) []string {
	var transcript struct{ Lines []string }
	c.ask(t, c.runner, map[string]any{"name": s.Name, "target": to, "patience": patience}, &transcript)
	return transcript.Lines
}

func (c *conform) openNode(t *testing.T, s scenario) target {
	var to target
	options := map[string]any{}
	if err := json.Unmarshal(s.Options, &options); err != nil {
		t.Error(err)
	}
	if to.TLS = options["tls"] == true; to.TLS {
		options["tls"] = map[string]string{"key": c.key, "cert": c.cert}
	}
	id := c.ask(t, c.servers, map[string]any{"op": "open", "options": options}, &to)
	t.Cleanup(func() {
		c.mu.Lock()
		defer c.mu.Unlock()
		_, _ = fmt.Fprintf(c.servers.in, "{\"op\":\"close\",\"id\":%d}\n", id)
	})
	return to
}

// openEngine starts a server of the engine with the options of a scenario, and its admin server.
func (c *conform) openEngine(t *testing.T, s scenario) target {
	o, tls, h2c, more := conformOptions(t, s.Options)
	io, handler := engine.NewServer(o, engine.Options{Logger: slog.New(slog.NewTextHandler(testLog{t}, nil))})
	log := &serverLog{more: make(chan struct{})}
	app := conformApp{io: io, log: log.printf}
	app.register(more)
	front := httptest.NewUnstartedServer(handler)
	if h2c {
		front.Config.Protocols = new(http.Protocols)
		front.Config.Protocols.SetUnencryptedHTTP2(true)
	}
	if tls {
		front.StartTLS()
	} else {
		front.Start()
	}
	mux := http.NewServeMux()
	mux.Handle("GET /log", log)
	mux.HandleFunc("POST /close", func(http.ResponseWriter, *http.Request) {
		for deadline := time.Now().Add(3 * time.Second); !listened(io) && time.Now().Before(deadline); {
			time.Sleep(time.Millisecond)
		}
		io.Close(nil)
	})
	admin := httptest.NewServer(mux)
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
		defer cancel()
		_ = handler.Shutdown(ctx)
		front.CloseClientConnections()
		front.Close()
		admin.Close()
	})
	return target{Port: portOf(front), Admin: portOf(admin), TLS: tls}
}

// listened tells whether every client can be written to: one that polls has a poll under way.
func listened(io *socket.Server) bool {
	ready := true
	io.Engine().Clients().Range(func(_ string, conn eng.Socket) bool {
		ready = conn.Transport().Writable()
		return ready
	})
	return ready
}

func portOf(s *httptest.Server) int {
	n, _ := strconv.Atoi(s.URL[strings.LastIndexByte(s.URL, ':')+1:])
	return n
}

// conformOptions translates the options of a scenario, which are those of Node.
func conformOptions(t *testing.T, raw []byte) (o *socket.ServerOptions, tls, h2c, headers bool) {
	var in struct {
		PingInterval, PingTimeout, UpgradeTimeout, ConnectTimeout, MaxHttpBufferSize int64
		Transports                                                                   []string
		AllowUpgrades, AddTrailingSlash, CleanupEmptyChildNamespaces                 *bool
		AllowEIO3, Allow, TLS, H2C, EngineHeaders                                    bool
		Path, InitialPacket                                                          string
		Cookie                                                                       *struct {
			Name, Path, SameSite, Domain string
			MaxAge                       int
			HTTPOnly, Secure             *bool
		}
		Cors *struct {
			Origin                                  any
			Methods, AllowedHeaders, ExposedHeaders []string
			Credentials                             bool
			MaxAge                                  int
		}
		PerMessageDeflate       *struct{ Threshold int }
		HTTPCompression         *struct{ Threshold int }
		ConnectionStateRecovery *struct {
			MaxDisconnectionDuration int64
			SkipMiddlewares          *bool
		}
	}
	d := json.NewDecoder(bytes.NewReader(raw))
	d.DisallowUnknownFields()
	if err := d.Decode(&in); err != nil {
		t.Errorf("options %s: %v", raw, err)
	}
	o = socket.DefaultServerOptions()
	o.SetServeClient(false)
	for ms, set := range map[*int64]func(time.Duration){&in.PingInterval: o.SetPingInterval,
		&in.PingTimeout:    o.SetPingTimeout,
		&in.UpgradeTimeout: o.SetUpgradeTimeout, &in.ConnectTimeout: o.SetConnectTimeout} {
		if *ms > 0 {
			set(time.Duration(*ms) * time.Millisecond)
		}
	}
	for v, set := range map[**bool]func(bool){&in.AllowUpgrades: o.SetAllowUpgrades,
		&in.AddTrailingSlash:            o.SetAddTrailingSlash,
		&in.CleanupEmptyChildNamespaces: o.SetCleanupEmptyChildNamespaces} {
		if *v != nil {
			set(**v)
		}
	}
	if in.MaxHttpBufferSize > 0 {
		o.SetMaxHttpBufferSize(in.MaxHttpBufferSize)
	}
	if in.Transports != nil {
		o.SetTransports(types.NewSet(in.Transports...))
	}
	if in.AllowEIO3 {
		o.SetAllowEIO3(true)
	}
	if in.Path != "" {
		o.SetPath(in.Path)
	}
	if in.InitialPacket != "" {
		o.SetInitialPacket(strings.NewReader(in.InitialPacket))
	}
	if in.Allow {
		o.SetAllowRequest(func(ctx *types.HttpContext) error {
			if why := ctx.Request().Header.Get("X-Refuse"); why != "" {
				return errors.New(why)
			}
			return nil
		})
	}
	if k := in.Cookie; k != nil {
		cookie := &http.Cookie{
			Name: k.Name, Path: "/", HttpOnly: true, SameSite: http.SameSiteLaxMode, Domain: k.Domain, MaxAge: k.MaxAge,
		}
		if k.Path != "" {
			cookie.Path = k.Path
		}
		if k.HTTPOnly != nil {
			cookie.HttpOnly = *k.HTTPOnly
		}
		cookie.Secure = k.Secure != nil && *k.Secure
		switch k.SameSite {
		case "strict":
			cookie.SameSite = http.SameSiteStrictMode
		case "none":
			cookie.SameSite = http.SameSiteNoneMode
		}
		o.SetCookie(cookie)
	}
	if k := in.Cors; k != nil {
		cors := &types.Cors{Origin: k.Origin, Credentials: k.Credentials}
		if k.Methods != nil {
			cors.Methods = k.Methods
		}
		if k.AllowedHeaders != nil {
			cors.AllowedHeaders = k.AllowedHeaders
		}
		if k.ExposedHeaders != nil {
			cors.ExposedHeaders = k.ExposedHeaders
		}
		if k.MaxAge != 0 {
			cors.MaxAge = strconv.Itoa(k.MaxAge)
		}
		o.SetCors(cors)
	}
	if k := in.PerMessageDeflate; k != nil {
		o.SetPerMessageDeflate(&types.PerMessageDeflate{Threshold: k.Threshold})
	}
	if k := in.HTTPCompression; k != nil {
		o.SetHttpCompression(&types.HttpCompression{Threshold: k.Threshold})
	}
	if k := in.ConnectionStateRecovery; k != nil {
		recovery := &socket.ConnectionStateRecovery{}
		if k.MaxDisconnectionDuration > 0 {
			recovery.SetMaxDisconnectionDuration(k.MaxDisconnectionDuration)
		}
		if k.SkipMiddlewares != nil {
			recovery.SetSkipMiddlewares(*k.SkipMiddlewares)
		}
		o.SetConnectionStateRecovery(recovery)
	}
	return o, in.TLS, in.H2C, in.EngineHeaders
}

// makeCertificate makes the certificate of the Node servers. Clients do not check it.
func (c *conform) makeCertificate(t *testing.T) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour)}
	cert, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	raw, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	c.key, c.cert = filepath.Join(dir, "key.pem"), filepath.Join(dir, "cert.pem")
	for file, block := range map[string]*pem.Block{
		c.key: {Type: "PRIVATE KEY", Bytes: raw}, c.cert: {Type: "CERTIFICATE", Bytes: cert},
	} {
		if err := os.WriteFile(file, pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

// serverLog is what the handlers of a server log. A request with n is answered once there are as many lines, or after 3
// s.
type serverLog struct {
	mu    sync.Mutex
	lines []string
	more  chan struct{} // closed and replaced when lines grows
}

func (l *serverLog) printf(format string, args ...any) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.lines = append(l.lines, fmt.Sprintf(format, args...))
	close(l.more)
	l.more = make(chan struct{})
}

func (l *serverLog) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	n, _ := strconv.Atoi(r.FormValue("n"))
	timeout := time.After(3 * time.Second)
	for late := false; ; {
		l.mu.Lock()
		lines, more := slices.Clone(l.lines), l.more
		l.mu.Unlock()
		if late || len(lines) >= n {
			_ = json.NewEncoder(w).Encode(append([]string{}, lines...))
			return
		}
		select {
		case <-more:
		case <-timeout:
			late = true
		}
	}
}

type testLog struct{ t *testing.T }

func (l testLog) Write(b []byte) (int, error) {
	l.t.Logf("engine: %s", b)
	return len(b), nil
}

// difference shows two transcripts, what they share once.
func difference(want, got []string) string {
	var b strings.Builder
	for len(want) > 0 || len(got) > 0 {
		switch {
		case len(want) > 0 && len(got) > 0 && want[0] == got[0]:
			fmt.Fprintf(&b, "    %s\n", want[0])
			want, got = want[1:], got[1:]
		case len(want) > 0 && !slices.Contains(got, want[0]):
			fmt.Fprintf(&b, "  - %s\n", want[0])
			want = want[1:]
		case len(got) > 0:
			fmt.Fprintf(&b, "  + %s\n", got[0])
			got = got[1:]
		default:
			fmt.Fprintf(&b, "  - %s\n", want[0])
			want = want[1:]
		}
	}
	return b.String()
}
