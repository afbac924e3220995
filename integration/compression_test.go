//go:build integration

package integration

import (
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/golang-jwt/jwt/v5"
	goredis "github.com/redis/go-redis/v9"

	"github.com/architus/guildcast/adapter/emitter"
	"github.com/architus/guildcast/internal/test/redistest"
	"github.com/architus/guildcast/internal/test/wait"
)

// TestSharedCompression has clients that know nothing of it inflate what --compression shared sends them: Node.js' ws
// and, where it is installed, Chromium, in pages that come one after the other. Between the events they get other
// messages, small ones, and large ones that are compressed too.
func TestSharedCompression(t *testing.T) {
	t.Parallel()
	t.Run("Node.js", func(t *testing.T) {
		w := newCompressionWorld(t, nil)
		b := startBrowsers(t)
		w.run(func(token string, transports []string) hearer {
			c, _ := b.connect(t, w.url, map[string]any{"transports": transports})
			c.elevate(t, token)
			c.spectate(t, token, guild, true)
			return func() []heard {
				c.mu.Lock()
				defer c.mu.Unlock()
				return slices.Clone(c.log)
			}
		})
	})
	t.Run("Chromium", func(t *testing.T) {
		pages := startPages(t)
		w := newCompressionWorld(t, pages)
		w.run(func(token string, transports []string) hearer {
			return pages.open(t, w, token, transports)
		})
	})
}

// hearer returns what a client has heard so far. It spectates already.
type hearer func() []heard

// compressionWorld is a node that shares compression, what was published there, and who has heard it.
type compressionWorld struct {
	t     *testing.T
	redis *goredis.Client
	url   string // of the node, through a proxy that counts
	node  *node
	sent  atomic.Int64 // bytes that the node sent through the proxy

	rng     *rand.Rand
	events  []logAction
	clients []*compressionClient
	plain   int // bytes of the events that clients have to get since the last measure
}

// logAction is an event, and who may see it.
type logAction struct {
	text    string
	private bool
}

type compressionClient struct {
	user    int
	private bool
	from    int // of events, the first after it spectated
	hear    hearer
}

func newCompressionWorld(t *testing.T, pages *browserPages) *compressionWorld {
	r := startRedis(t)
	opts, err := goredis.ParseURL(r.url)
	if err != nil {
		t.Fatal(err)
	}
	w := &compressionWorld{t: t, redis: goredis.NewClient(opts), rng: rand.New(rand.NewPCG(1, 1))}
	t.Cleanup(func() { w.redis.Close() })
	env := []string{"GUILDCAST_COMPRESSION=shared", "GUILDCAST_SERVE_CLIENT=true", "GUILDCAST_GRACE=1s"}
	if pages != nil {
		env = append(env, "GUILDCAST_ORIGINS="+pages.URL)
	}
	w.node = startNode(t, "node", r.url, env...)
	w.url = w.countingProxy(strings.TrimPrefix(w.node.url, "http://"))
	return w
}

// countingProxy passes connections on to addr, and counts what comes back.
func (w *compressionWorld) countingProxy(addr string) string {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		w.t.Fatal(err)
	}
	var conns sync.WaitGroup
	conns.Go(func() {
		for {
			down, err := l.Accept()
			if err != nil {
				return
			}
			up, err := net.Dial("tcp", addr)
			if err != nil {
				down.Close()
				continue
			}
			conns.Go(func() { io.Copy(up, down); up.Close() })
			conns.Go(func() { io.Copy(counter{down, &w.sent}, up); down.Close() })
		}
	})
	w.t.Cleanup(func() {
		l.Close()
		w.node.drain(w.t) // which ends the connections
		conns.Wait()
	})
	return "http://" + l.Addr().String()
}

// counter counts what is written.
type counter struct {
	io.Writer
	n *atomic.Int64
}

func (c counter) Write(p []byte) (int, error) {
	c.n.Add(int64(len(p)))
	return c.Writer.Write(p)
}

// run has clients come while events are published, and checks what all of them have heard, and how many bytes it took.
func (w *compressionWorld) run(join func(token string, transports []string) hearer) {
	transports := [][]string{{"websocket"}, {"polling", "websocket"}}
	for i := range 6 {
		c := &compressionClient{user: 1000 + i, private: i%3 == 2}
		bits := bitPublicLogs
		if c.private {
			bits |= bitPrivateLogs
		}
		token := mint(w.t, jwt.MapClaims{"sub": fmt.Sprint(c.user), "permissions": 0, "guilds": guilds{guild: bits}})
		c.hear = join(token, transports[i%2])
		c.from = len(w.events)
		w.clients = append(w.clients, c)
		w.publish(20)
		w.disturb()
		w.publish(5)
	}
	wait.Until(w.t, "all sessions to be WebSockets", func() bool {
		return sum([]*node{w.node}, `guildcast_connections\{transport="websocket"\}`) == len(w.clients)
	})
	w.publish(60) // after which all have what events refer to
	w.check()
	before := w.sent.Load()
	w.plain = 0
	w.publish(200)
	w.check()
	took := w.sent.Load() - before
	ratio := float64(took) / float64(w.plain)
	w.t.Logf("events of %d bytes took %.3f of their bytes", w.plain/200/len(w.clients), ratio)
	if ratio > 0.4 {
		w.t.Errorf("%d bytes of events took %d bytes", w.plain, took)
	}
}

// publish publishes n events, one in four of which not everybody sees.
func (w *compressionWorld) publish(n int) {
	words := strings.Fields("joined the server and wrote hello to everybody in the general channel again today")
	for range n {
		e := logAction{private: w.rng.IntN(4) == 0}
		var content []string
		for range 4 + w.rng.IntN(12) {
			content = append(content, words[w.rng.IntN(len(words))])
		}
		e.text = fmt.Sprintf(`{"id":"%d","guild_id":%q,"action_number":3001,"timestamp":%d,"private":%v,`+
			`"agent_id":"21403713447723%04d","subject_id":"21403713447723%04d","data":{"channel_id":"448546825532%06d",`+
			`"message_id":"%d","content":%q}}`, len(w.events)+1, guild, 1_790_000_000_000+len(w.events)*977, e.private,
			w.rng.IntN(50), w.rng.IntN(50), w.rng.IntN(9), 713009421563723777+len(w.events)*1001,
			strings.Join(content, " "))
		w.events = append(w.events, e)
		announce(w.t, w.redis, guild+"_logs", e.text)
		for _, c := range w.clients {
			if c.private || !e.private {
				w.plain += len(e.text)
			}
		}
	}
}

// disturb sends messages to single clients and to all, small ones and large ones.
func (w *compressionWorld) disturb() {
	e := emitter.New(w.redis, emitter.Options{})
	for _, size := range []int{10, 2000, 30_000, 100} {
		if err := e.Emit("disturbance", strings.Repeat("what everybody gets ", size/20)); err != nil {
			w.t.Fatal(err)
		}
	}
}

// check waits until every client has heard the last event that it may see, and compares all that it has heard. Events
// of just before it spectated may have been on their way.
func (w *compressionWorld) check() {
	for _, c := range w.clients {
		var may []string
		must := 0
		for i, e := range w.events {
			if c.private || !e.private {
				may = append(may, e.text)
				if i >= c.from {
					must++
				}
			}
		}
		var got []string
		wait.Until(w.t, fmt.Sprintf("client %d to hear %d events", c.user, must), func() bool {
			got = logEntries(c.hear())
			return len(got) >= must && got[len(got)-1] == may[len(may)-1]
		})
		want := may[max(0, len(may)-len(got)):]
		for i := range want {
			if got[i] != want[i] {
				w.t.Fatalf("client %d, event %d of %d:\n got %s\nwant %s", c.user, i, len(got), got[i], want[i])
			}
		}
		if len(got) > len(want) {
			w.t.Fatalf("client %d has heard %d events of %d", c.user, len(got), len(want))
		}
	}
}

// logEntries returns the log entries among what a client has heard.
func logEntries(hs []heard) (entries []string) {
	for _, h := range hs {
		if h.Event == "log_other" {
			entries = append(entries, string(h.Args[0]))
		}
	}
	return entries
}

// browserPages are pages of a Chromium without a window.
type browserPages struct {
	*httptest.Server
	next chan string // addresses of pages to open; closed at the end

	mu    sync.Mutex
	heard map[int][]heard // by page
}

func startPages(t *testing.T) *browserPages {
	chromium := ""
	for _, name := range []string{"chromium", "chromium-browser", "google-chrome"} {
		if path, err := exec.LookPath(name); err == nil {
			chromium = path
			break
		}
	}
	if chromium == "" {
		if redistest.Required() {
			t.Fatal("Chromium is not installed: run scripts/setup")
		}
		t.Skip("no Chromium is installed")
	}
	page, err := os.ReadFile("nodejs/spectators.html")
	if err != nil {
		t.Fatal(err)
	}
	p := &browserPages{next: make(chan string, 100), heard: map[int][]heard{}}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /{$}", func(rw http.ResponseWriter, _ *http.Request) {
		rw.Header().Set("Content-Type", "text/html; charset=utf-8")
		rw.Write(page)
	})
	mux.HandleFunc("GET /next", func(rw http.ResponseWriter, r *http.Request) {
		select {
		case address, ok := <-p.next:
			if !ok {
				rw.WriteHeader(http.StatusGone)
				return
			}
			io.WriteString(rw, address)
		case <-r.Context().Done():
		}
	})
	mux.HandleFunc("POST /heard", func(rw http.ResponseWriter, r *http.Request) {
		var hs []heard
		page, err := strconv.Atoi(r.FormValue("page"))
		if err == nil {
			err = json.NewDecoder(r.Body).Decode(&hs)
		}
		if err != nil {
			http.Error(rw, err.Error(), http.StatusBadRequest)
			return
		}
		p.mu.Lock()
		defer p.mu.Unlock()
		p.heard[page] = append(p.heard[page], hs...)
	})
	p.Server = httptest.NewServer(mux)
	t.Cleanup(func() { close(p.next); p.CloseClientConnections(); p.Close() })
	start(t, "chromium", nil, nil, chromium, "--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage",
		"--no-first-run", "--user-data-dir="+t.TempDir(), "--remote-debugging-port=0", p.URL)
	return p
}

// open opens a page whose client spectates, and returns once it does.
func (p *browserPages) open(t *testing.T, w *compressionWorld, token string, transports []string) hearer {
	p.mu.Lock()
	page := len(p.heard)
	p.heard[page] = nil
	p.mu.Unlock()
	p.next <- "/?" + url.Values{
		"page": {fmt.Sprint(page)}, "token": {token}, "guild": {guild}, "url": {w.url},
		"client": {w.url + "/socket.io/socket.io.min.js"}, "transports": {strings.Join(transports, ",")},
	}.Encode()
	hear := func() []heard {
		p.mu.Lock()
		defer p.mu.Unlock()
		return slices.Clone(p.heard[page])
	}
	wait.Until(t, fmt.Sprintf("page %d to spectate", page), func() bool {
		return slices.ContainsFunc(hear(), func(h heard) bool { return h.Event == "spectate_return" })
	})
	return hear
}
