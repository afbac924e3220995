package adminui

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/zishang520/socket.io/v2/socket"

	"github.com/architus/guildcast/engine"
	"github.com/architus/guildcast/internal/test/lifecycle"
	"github.com/architus/guildcast/internal/test/sioclient"
)

// start starts a server with the UI and returns its address. Its sockets get "welcome", and echo "say".
func start(t *testing.T, o Options) (addr string, u *UI) {
	t.Helper()
	io, h := engine.NewServer(socket.DefaultServerOptions(), engine.Options{})
	o.Logger, o.User, o.PasswordHash = slog.New(slog.DiscardHandler), "admin", string(hashOf(t, "right"))
	o.Clients = func() (int, int) { s := h.Stats(); return s.Polling + s.WebSocket, s.Polling }
	u, err := New(io, o)
	if err != nil {
		t.Fatal(err)
	}
	_ = io.On("connection", func(args ...any) {
		s := args[0].(*socket.Socket)
		_ = s.On("say", func(args ...any) { _ = s.Emit("said", args...) })
		_ = s.Emit("welcome")
	})
	server := httptest.NewServer(h)
	stop := lifecycle.Start(t, u.Run)
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		if err := h.Shutdown(ctx); err != nil {
			t.Error(err)
		}
		stop()
		server.Close()
	})
	return strings.TrimPrefix(server.URL, "http://"), u
}

// page connects as the page does.
func page(t *testing.T, addr string) *sioclient.Client {
	t.Helper()
	return sioclient.Connect(t, addr, sioclient.Options{
		Namespace: Namespace, Auth: `{"username":"admin","password":"right"}`,
	})
}

// until takes events until one has this name and fits.
func until(t *testing.T, c *sioclient.Client, name, fits string) (seen []string) {
	t.Helper()
	for {
		e := c.Next()
		text := e.Name + " " + string(bytes.Join(rawArgs(e), []byte(" ")))
		seen = append(seen, text)
		if e.Name == name && strings.Contains(text, fits) {
			return seen
		}
	}
}

func rawArgs(e sioclient.Event) (args [][]byte) {
	for _, a := range e.Args {
		args = append(args, a)
	}
	return args
}

// In production mode the page is told of servers and of nothing else.
func TestProduction(t *testing.T) {
	addr, _ := start(t, Options{Production: true})
	admin := page(t, addr)
	until(t, admin, "config", `{"supportedFeatures":["AGGREGATED_EVENTS"]}`)
	c := sioclient.Connect(t, addr, sioclient.Options{})
	c.Emit("say", "x")
	c.Expect("welcome")
	c.Expect("said")
	for _, e := range until(t, admin, "server_stats", `"rawConnection"`) {
		if !strings.HasPrefix(e, "server_stats") {
			t.Errorf("got %s", e)
		}
	}
}

// In development mode it is told of all that the server sends and gets, from the first event of a socket on.
func TestDevelopment(t *testing.T) {
	addr, u := start(t, Options{})
	admin := page(t, addr)
	until(t, admin, "config", `"ALL_EVENTS"`)
	until(t, admin, "all_sockets", admin.SID())
	c := sioclient.Connect(t, addr, sioclient.Options{Headers: "Cookie: secret\r\n"})
	c.Expect("welcome")
	c.Emit("say", token)
	c.Expect("said")
	var seen []string
	for _, next := range []string{"socket_connected", "event_sent", "event_received", "event_sent"} {
		seen = append(seen, until(t, admin, next, c.SID())...)
	}
	u.Sent([]string{c.SID()}, []byte(`["past the library",{"token":"secret"}]`))
	seen = append(seen, until(t, admin, "event_sent", "past the library")...)
	c.Close()
	seen = append(seen, until(t, admin, "socket_disconnected", c.SID())...)
	all := strings.Join(seen, "\n")
	if !strings.Contains(all, "welcome") || strings.Contains(all, token) || strings.Contains(all, "secret") {
		t.Errorf("got %s", all)
	}
}

// What nobody can send in time is left out, and nobody waits for it.
func TestOverflow(t *testing.T) {
	_, u := start(t, Options{})
	sockets := make([]string, 10*eventsPerSecond)
	for range 10 {
		u.Sent(sockets, []byte(`["x"]`))
	}
	if u.dropped.Load() == 0 {
		t.Error("everything was kept")
	}
}

// Passwords can't be tried as fast as somebody likes, and a session needs none.
func TestAttempts(t *testing.T) {
	addr, u := start(t, Options{})
	answers := map[string]int{}
	for range 2 * attemptsAtOnce {
		answers[connect(t, addr, `{"username":"admin","password":"wrong"}`)]++
	}
	if answers["invalid credentials"] == 0 || answers["too many attempts"] == 0 || len(answers) != 2 {
		t.Errorf("got %v", answers)
	}
	if got := connect(t, addr, `{"sessionId":"`+u.login.newSession(time.Now())+`"}`); got != "" {
		t.Errorf("a session is answered %q", got)
	}
}

// connect connects to the namespace by polling, and returns the message of the refusal.
func connect(t *testing.T, addr, auth string) string {
	t.Helper()
	base := "http://" + addr + "/socket.io/?EIO=4&transport=polling"
	do := func(method, url, body string) string {
		r, err := http.NewRequestWithContext(t.Context(), method, url, strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		r.Close = true
		response, err := http.DefaultClient.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		defer response.Body.Close()
		answer, err := io.ReadAll(response.Body)
		if err != nil {
			t.Fatal(err)
		}
		return string(answer)
	}
	var open struct{ SID string }
	if err := json.Unmarshal([]byte(do(http.MethodGet, base, "")[1:]), &open); err != nil {
		t.Fatal(err)
	}
	url := base + "&sid=" + open.SID
	do(http.MethodPost, url, "40"+Namespace+","+auth)
	answer := do(http.MethodGet, url, "")
	defer do(http.MethodPost, url, "1")
	text, refused := strings.CutPrefix(answer, "44"+Namespace+",")
	if !refused {
		return ""
	}
	var body struct{ Message string }
	if err := json.Unmarshal([]byte(text), &body); err != nil {
		t.Fatalf("%s: %v", answer, err)
	}
	return body.Message
}

func TestNewRefuses(t *testing.T) {
	server, h := engine.NewServer(socket.DefaultServerOptions(), engine.Options{})
	t.Cleanup(func() { _ = h.Shutdown(context.Background()) })
	for _, o := range []Options{{User: "admin"}, {User: "admin", PasswordHash: "right"},
		{PasswordHash: string(hashOf(t, "right"))}} {
		if _, err := New(server, o); err == nil {
			t.Errorf("%+v was taken", o)
		}
	}
}
