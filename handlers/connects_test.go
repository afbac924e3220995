package handlers_test

import (
	"fmt"
	"net/http"
	"net/netip"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/architus/guildcast/handlers"
	"github.com/architus/guildcast/internal/test/wait"
)

// refusals are the handshakes that limits have refused.
func (n *node) refusals() map[string]int {
	families, err := n.metrics.Gather()
	if err != nil {
		n.t.Fatal(err)
	}
	refused := map[string]int{}
	for _, f := range families {
		for _, m := range f.GetMetric() {
			if f.GetName() == "guildcast_connections_refused_total" {
				refused[m.GetLabel()[0].GetValue()] = int(m.GetCounter().GetValue())
			}
		}
	}
	return refused
}

// handshake asks for a polling session through proxies, and returns the status. A refusal must say when to come again.
func (n *node) handshake(forwardedFor string) int {
	n.t.Helper()
	request, err := http.NewRequest("GET", n.server.URL+"/socket.io/?EIO=4&transport=polling", nil)
	if err != nil {
		n.t.Fatal(err)
	}
	if forwardedFor != "" {
		request.Header.Set("X-Forwarded-For", forwardedFor)
	}
	response, err := n.server.Client().Do(request)
	if err != nil {
		n.t.Fatal(err)
	}
	defer response.Body.Close()
	seconds, err := strconv.Atoi(response.Header.Get("Retry-After"))
	if (response.StatusCode == 503) != (err == nil) || err == nil && (seconds < 1 || seconds > 30) {
		n.t.Errorf("%d with Retry-After %q", response.StatusCode, response.Header.Get("Retry-After"))
	}
	return response.StatusCode
}

func TestConnectionLimits(t *testing.T) {
	const none = -1
	for _, c := range []struct {
		limit  string
		limits handlers.Limits
		from   []string // a connection each; the last is refused, the others are not
	}{
		{"connections", handlers.Limits{Connections: 2, AddressConnections: none}, []string{"", "", ""}},
		{"connections", handlers.Limits{Connections: 2}, []string{"192.0.2.1", "192.0.2.2", "192.0.2.3"}},
		{"address_connections", handlers.Limits{AddressConnections: 2}, []string{"", "", ""}},
		{"address_connections", handlers.Limits{AddressConnections: 1},
			[]string{"192.0.2.1", "192.0.2.2", "", "2001:db8::1", "2001:db8:1::1", "2001:db8::2"}},
		{"connects", handlers.Limits{Connects: 0.001}, []string{"192.0.2.1", "192.0.2.2"}},
		{"address_connects", handlers.Limits{AddressConnects: 0.001}, []string{"192.0.2.1", "192.0.2.2", "192.0.2.1"}},
	} {
		t.Run(c.limit, func(t *testing.T) {
			t.Parallel()
			n := start(t, func(config *handlers.Config, _ *handlers.Parts) {
				config.Limits = c.limits
				config.TrustedProxies = []netip.Prefix{netip.MustParsePrefix("127.0.0.1/32")}
			})
			for i, from := range c.from {
				want := http.StatusOK
				if i == len(c.from)-1 {
					want = http.StatusServiceUnavailable
				}
				if status := n.handshake(from); status != want {
					t.Errorf("connection %d: %d, want %d", i+1, status, want)
				}
			}
			refused := n.refusals()
			if refused[c.limit] != 1 || len(refused) != 4 {
				t.Errorf("refused were %v", refused)
			}
			n.gateway.SetLimits(handlers.Limits{Connects: none, AddressConnects: none, Connections: none,
				AddressConnections: none})
			for range 10 {
				if status := n.handshake(c.from[0]); status != 200 {
					t.Errorf("without limits: %d", status)
				}
			}
		})
	}
}

// An address that may have no more takes nothing from the others, and what has closed does not count.
func TestConnectionsAreGivenBack(t *testing.T) {
	n := start(t, func(config *handlers.Config, _ *handlers.Parts) {
		config.Limits = handlers.Limits{Connections: 10, AddressConnections: 5}
	})
	for range 3 {
		var clients []*client
		for range 5 {
			clients = append(clients, connect(t, n.server, nil))
		}
		if status := n.handshake(""); status != 503 {
			t.Errorf("a sixth client: %d", status)
		}
		for _, c := range clients {
			c.close()
		}
		wait.Until(t, "room for a client", func() bool { return n.gateway.Sessions() == 0 && n.room(t) })
	}
}

// room reports whether a WebSocket client is let in.
func (n *node) room(t *testing.T) bool {
	request, err := http.NewRequest("GET", n.server.URL+"/socket.io/?EIO=4&transport=websocket", nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, pair := range strings.Fields("Connection=Upgrade Upgrade=websocket Sec-WebSocket-Version=13") {
		name, value, _ := strings.Cut(pair, "=")
		request.Header.Set(name, value)
	}
	request.Header.Set("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ==")
	response, err := n.server.Client().Transport.RoundTrip(request)
	if err != nil {
		t.Fatal(err)
	}
	response.Body.Close()
	return response.StatusCode == http.StatusSwitchingProtocols
}

// TestConnectionsBesideEachOther takes and gives places from many sides.
func TestConnectionsBesideEachOther(t *testing.T) {
	n := start(t, func(config *handlers.Config, _ *handlers.Parts) {
		config.Limits = handlers.Limits{Connections: 20, AddressConnections: 10, Connects: -1, AddressConnects: -1}
	})
	var all sync.WaitGroup
	for i := range 8 {
		all.Go(func() {
			for range 2000 {
				r := &http.Request{RemoteAddr: fmt.Sprintf("192.0.2.%d:1", i%4), Header: http.Header{}}
				if release, _ := n.gateway.AdmitSession(r); release != nil {
					release()
				}
			}
		})
	}
	all.Wait()
	var releases []func()
	for i := range 30 {
		r := &http.Request{RemoteAddr: fmt.Sprintf("192.0.2.%d:1", i%2), Header: http.Header{}}
		if release, _ := n.gateway.AdmitSession(r); release != nil {
			releases = append(releases, release)
		}
	}
	if len(releases) != 20 {
		t.Errorf("%d places are free, want 20", len(releases))
	}
	for _, release := range releases {
		release()
	}
}
