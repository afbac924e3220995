//go:build integration

package integration

import (
	"slices"
	"testing"
	"time"

	"github.com/architus/guildcast/adapter"
)

// classicPeer starts one of "go", "go-rooms", and the adapters of node/adapter/server.mjs.
func classicPeer(t *testing.T, kind, redisURL string) peer {
	t.Helper()
	o := adapter.Options{RequestsTimeout: 2 * time.Second}
	switch kind {
	case "go-rooms":
		o.RoomSubscriptions = true
	case "go-specific":
		o.PublishOnSpecificResponseChannel = true
	case "go":
	default:
		return startNodePeer(t, redisURL, kind, `{"requestsTimeout":2000}`, "/chat")
	}
	return startGoPeer(t, adapter.New(goRedis(t, redisURL), o), "/chat")
}

// TestAdapterClassic runs clusters of three servers in every composition of Go and Node.js.
func TestAdapterClassic(t *testing.T) {
	b := startBrowsers(t)
	r := startRedis(t)
	for _, kinds := range [][]string{
		{"go", "go", "go"},
		{"go", "go", "redis"},
		{"go", "redis", "redis"},
		{"go", "redis", "ioredis"},
		{"go", "go", "ioredis"},
		{"go-rooms", "ioredis", "go-specific"},
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

// classicRequests goes through the requests that only the classic adapter has.
func classicRequests(t *testing.T, peers []peer, seven int) {
	if seven < 0 {
		return
	}
	b := startBrowsers(t)
	old, other := peers[seven], peers[0]
	c, sid := b.connect(t, other.url(), nil)
	other.call(t, "own", call{"id": sid, "targets": []string{"there"}})
	if ids := result[[]string](t, old, "sockets", call{"rooms": []string{"there"}}); !slices.Equal(ids, []string{sid}) {
		t.Errorf("sockets %v", ids)
	}
	old.call(t, "remoteJoin", call{"id": sid, "room": "joined"})
	if rooms := result[[]string](t, old, "allRooms", nil); !slices.Contains(rooms, "joined") || !slices.Contains(rooms, sid) {
		t.Errorf("rooms %v", rooms)
	}
	old.call(t, "remoteLeave", call{"id": sid, "room": "joined"})
	if rooms := result[[]string](t, old, "allRooms", nil); slices.Contains(rooms, "joined") {
		t.Errorf("rooms %v", rooms)
	}
	old.call(t, "remoteDisconnect", call{"id": sid})
	c.wait(t, "disconnect", func(h heard) bool { return h.Type == "disconnect" })
}
