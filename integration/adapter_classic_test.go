//go:build integration

package integration

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/architus/guildcast/adapter"
)

// classicPeer starts one of "go", "go-pattern", "go-specific", and the adapters of node/adapter/server.mjs. It waits
// for answers as long as a test does.
func classicPeer(t *testing.T, kind, redisURL string) peer {
	t.Helper()
	return classicPeerThatWaits(t, kind, redisURL, patience)
}

func classicPeerThatWaits(t *testing.T, kind, redisURL string, timeout time.Duration) peer {
	t.Helper()
	o := adapter.Options{RequestsTimeout: timeout}
	switch kind {
	case "go-pattern":
		o.PatternSubscription = true
	case "go-specific":
		o.PublishOnSpecificResponseChannel = true
	case "go":
	default:
		return startNodePeer(t, redisURL, kind, fmt.Sprintf(`{"requestsTimeout":%d}`, timeout.Milliseconds()), "/chat")
	}
	return startGoPeer(t, adapter.New(goRedis(t, redisURL), o), "/chat")
}

// TestAdapterClassic runs clusters of three servers in every composition of Go and Node.js.
func TestAdapterClassic(t *testing.T) {
	t.Parallel()
	b := startBrowsers(t)
	r := startRedis(t)
	for _, kinds := range [][]string{
		{"go", "go", "go"},
		{"go", "go", "redis"},
		{"go", "redis", "redis"},
		{"go", "redis", "ioredis"},
		{"go", "go", "ioredis"},
		{"go-pattern", "ioredis", "go-specific"},
		{"go", "redis-7", "ioredis"},
	} {
		t.Run(kinds[0]+" "+kinds[1]+" "+kinds[2], func(t *testing.T) {
			var peers []peer
			for _, kind := range kinds {
				peers = append(peers, classicPeer(t, kind, r.url))
			}
			adapterConformance(t, b, peers)
			classicRequests(t, peers, slices.Index(kinds, "redis-7"))
		})
	}
}

// TestAdapterClassicMute has servers of every kind ask the others what none of them answers. It is the only test in
// which a timeout passes.
func TestAdapterClassicMute(t *testing.T) {
	t.Parallel()
	r := startRedis(t)
	kinds := []string{"go", "go-pattern", "go-specific", "redis", "ioredis", "redis-7"}
	var peers []peer
	for _, kind := range kinds {
		peers = append(peers, classicPeerThatWaits(t, kind, r.url, 500*time.Millisecond))
	}
	allCounted(t, peers)
	for i, p := range peers {
		t.Run(kinds[i], func(t *testing.T) {
			a := result[answers](t, p, "sseAck", call{"event": "mute"})
			if a.Error == "" || len(a.Values) != 0 {
				t.Errorf("got %+v", a)
			}
		})
	}
}

// classicRequests goes through the requests that only the classic adapter has.
func classicRequests(t *testing.T, peers []peer, seven int) {
	if seven < 0 {
		return
	}
	b := startBrowsers(t)
	old, other := peers[seven], peers[0]
	c, sid := b.connect(t, other.url(), nil)
	other.call(t, "own", call{"id": sid, "targets": []string{"asked"}})
	if ids := result[[]string](t, old, "sockets", call{"rooms": []string{"asked"}}); !slices.Equal(ids, []string{sid}) {
		t.Errorf("sockets %v", ids)
	}
	old.call(t, "remoteJoin", call{"id": sid, "room": "joined"})
	if rooms := result[[]string](t, old, "allRooms", nil); !slices.Contains(rooms, "joined") ||
		!slices.Contains(rooms, sid) {
		t.Errorf("rooms %v", rooms)
	}
	old.call(t, "remoteLeave", call{"id": sid, "room": "joined"})
	if rooms := result[[]string](t, old, "allRooms", nil); slices.Contains(rooms, "joined") {
		t.Errorf("rooms %v", rooms)
	}
	old.call(t, "remoteDisconnect", call{"id": sid})
	c.wait(t, "disconnect", func(h heard) bool { return h.Type == "disconnect" })
}

// TestAdapterClassicOld runs Go servers with servers of socket.io-redis 6 and 5.
func TestAdapterClassicOld(t *testing.T) {
	t.Parallel()
	for _, kind := range []string{"redis-6", "redis-5"} {
		t.Run(kind, func(t *testing.T) {
			b := startBrowsers(t)
			r := startRedis(t)
			gos := []peer{classicPeer(t, "go", r.url), classicPeer(t, "go", r.url)}
			old := classicPeer(t, kind, r.url)
			c, sid := b.connect(t, gos[0].url(), nil)
			mine := member{c, sid}
			gos[0].call(t, "own", call{"id": sid, "targets": []string{"there"}})

			old.call(t, "emit", call{"event": "hello", "args": []any{1, call{"$bin": "AQI="}}})
			if got := mine.args(t, "hello"); got != `[1,{"$bin":"AQI="}]` {
				t.Errorf("got %s", got)
			}
			old.call(t, "emit", call{"rooms": []string{"there"}, "event": "room", "args": []any{call{"k": []any{nil}}}})
			if got := mine.args(t, "room"); got != `[{"k":[null]}]` {
				t.Errorf("got %s", got)
			}
			if kind == "redis-6" {
				c, _ := b.connect(t, old.url(), nil)
				theirs := member{c, ""}
				gos[1].call(t, "emit", call{"event": "back", "args": []any{call{"$bin": "AQI="}}})
				if got := theirs.args(t, "back"); got != `[{"$bin":"AQI="}]` {
					t.Errorf("got %s", got)
				}
				if found := result[[]described](t, gos[0], "fetch", nil); len(found) != 2 {
					t.Errorf("fetched %+v", found)
				}
				classicRequests(t, []peer{gos[0], old}, 1)
				return
			}
			oldRequests(t, mine, old)
		})
	}
}

// oldRequests goes through the requests of socket.io-redis 5.
func oldRequests(t *testing.T, mine member, old peer) {
	t.Helper()
	if ids := result[[]string](t, old, "clients", call{"rooms": []string{"there"}}); !slices.Equal(ids,
		[]string{mine.sid}) {
		t.Errorf("clients %v", ids)
	}
	old.call(t, "remoteJoin", call{"id": mine.sid, "room": "joined"})
	if rooms := result[[]string](t, old, "allRooms", nil); !slices.Contains(rooms, "joined") {
		t.Errorf("rooms %v", rooms)
	}
	rooms := result[[]string](t, old, "clientRooms", call{"id": mine.sid})
	slices.Sort(rooms)
	want := []string{mine.sid, "joined", "there"}
	slices.Sort(want)
	if !slices.Equal(rooms, want) {
		t.Errorf("rooms of the socket %v", rooms)
	}
	old.call(t, "remoteLeave", call{"id": mine.sid, "room": "joined"})
	if rooms := result[[]string](t, old, "clientRooms", call{"id": mine.sid}); slices.Contains(rooms, "joined") {
		t.Errorf("rooms of the socket %v", rooms)
	}
	if data := result[[]any](t, old, "customRequest", call{"data": call{"x": 1}}); len(data) != 3 {
		t.Errorf("custom request: %v", data)
	}
	old.call(t, "remoteDisconnect", call{"id": mine.sid})
	mine.wait(t, "disconnect", func(h heard) bool { return h.Type == "disconnect" })
}
