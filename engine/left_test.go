package engine

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"regexp"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/zishang520/socket.io/v2/socket"

	"github.com/architus/guildcast/internal/test/wait"
)

// alive counts what the collector has not taken yet.
type alive struct{ sockets, conns, requests atomic.Int64 }

// watch counts v in n until v is collected.
func watch[T any](v *T, n *atomic.Int64) {
	n.Add(1)
	runtime.AddCleanup(v, func(n *atomic.Int64) { n.Add(-1) }, n)
}

// TestNothingIsKept has clients of every kind come and go in every way. When they have gone the server is as before: no
// connection, socket or handshake request is in memory, no room, no goroutine.
func TestNothingIsKept(t *testing.T) {
	var left alive
	opts := socket.DefaultServerOptions()
	opts.SetAllowEIO3(true)
	s := serve(t, opts, Options{}, nil)
	join := func(so *socket.Socket) {
		watch(so, &left.sockets)
		watch(ConnOf(so), &left.conns)
		so.Join("all", socket.Room(fmt.Sprint("of ", so.Id())))
		_ = so.On("question", func(...any) {})
		_ = so.Emit("question", func([]any, error) {}) // nobody answers
		_ = so.Request()                               // the library's view of it
	}
	onConnection(s.Sockets(), join)
	onConnection(s.Of("/admin", nil), join)
	inner := s.http.Config.Handler
	front := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		watch(r, &left.requests)
		inner.ServeHTTP(w, r)
	}))
	defer front.Close()
	s.http.Close()
	s.http = front

	crowd := func(n int) {
		var leave []func()
		for i := range n {
			for _, eio := range []string{"EIO=4", "EIO=3"} {
				leave = append(leave, s.comeByWebSocket(t, eio, i), s.comeByPolling(t, eio, i))
			}
		}
		st := s.handler.Stats()
		if open := st.Polling + st.WebSocket; open != 4*n {
			t.Errorf("%d sessions are open, want %d", open, 4*n)
		}
		for _, f := range leave {
			f()
		}
		http.DefaultClient.CloseIdleConnections()
		wait.Until(t, "all have left", func() bool { return s.Engine().ClientsCount() == 0 })
	}
	settled := func() int { // the fewest goroutines that there are
		runtime.GC()
		return runtime.NumGoroutine()
	}
	crowd(6) // what is made once, such as pollers' buffers
	before := settled()
	crowd(60)
	wait.Until(t, "all is collected", func() bool {
		return settled() <= before && left.sockets.Load()+left.conns.Load()+left.requests.Load() == 0
	})
	for _, nsp := range []socket.Namespace{s.Sockets(), s.Of("/admin", nil)} {
		a := nsp.Adapter().(*Adapter)
		a.index.mu.Lock()
		if n := a.index.members.Len() + a.index.rooms.Len() + len(a.index.all); n != 0 {
			t.Errorf("%s: %d members, rooms and places", nsp.Name(), n)
		}
		a.index.mu.Unlock()
		if n := nsp.Sockets().Len(); n != 0 {
			t.Errorf("%s: %d sockets", nsp.Name(), n)
		}
	}
	if st := s.handler.Stats(); st.Polling+st.WebSocket != 0 || st.QueuedBytes != 0 {
		t.Errorf("%+v", st)
	}
}

// comeByWebSocket connects number i to two namespaces, unless it is one that never says a word. It returns how it
// leaves.
func (s *testServer) comeByWebSocket(t *testing.T, eio string, i int) (leave func()) {
	w := s.dial(t, eio)
	if i%5 != 4 {
		if eio == "EIO=4" {
			w.send("40")
		}
		w.send("40/admin,")
		for !strings.HasPrefix(w.read(), "40/admin") {
		}
	}
	switch i % 4 {
	case 0:
		return w.close
	case 1:
		return w.reset
	case 2:
		return func() { w.send("41/admin,", "1") }
	default:
		return func() {
			w.send("41")
			w.frame(8, nil)
		}
	}
}

// reset closes the connection as one does that is killed.
func (w *wire) reset() {
	_ = w.conn.(*net.TCPConn).SetLinger(0)
	w.close()
}

var sidOf = regexp.MustCompile(`"sid":"([^"]+)"`)

// comeByPolling is comeByWebSocket for polling.
func (s *testServer) comeByPolling(t *testing.T, eio string, i int) (leave func()) {
	query := "/socket.io/?transport=polling&" + eio
	open := s.get(t, query)
	query += "&sid=" + sidOf.FindStringSubmatch(open)[1]
	pack := func(packet string) string {
		if eio == "EIO=3" {
			return fmt.Sprintf("%d:%s", len(packet), packet)
		}
		return packet
	}
	if i%5 != 4 {
		if eio == "EIO=4" {
			s.post(t, query, "40")
		}
		s.post(t, query, pack("40/admin,"))
		for !strings.Contains(s.get(t, query), "40/admin") {
		}
	}
	upgrade := func() *wire {
		w := s.webSocket(t, strings.Replace(query[len("/socket.io/?"):], "transport=polling", "", 1))
		w.send("2probe")
		w.expect("3probe")
		return w
	}
	switch i % 4 {
	case 0:
		return func() { s.post(t, query, pack("1")) }
	case 1:
		return func() { s.post(t, query, "no packet") } // a parse error
	case 2:
		w := upgrade()
		w.send("5")
		return w.reset
	default:
		upgrade() // goes no further
		return func() { s.post(t, query, pack("1")) }
	}
}

func (s *testServer) get(t *testing.T, path string) string {
	t.Helper()
	return body(t, func() (*http.Response, error) { return http.Get(s.http.URL + path) })
}

func (s *testServer) post(t *testing.T, path, packets string) {
	t.Helper()
	body(t, func() (*http.Response, error) {
		return http.Post(s.http.URL+path, "text/plain", strings.NewReader(packets))
	})
}

func body(t *testing.T, request func() (*http.Response, error)) string {
	t.Helper()
	res, err := request()
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}
