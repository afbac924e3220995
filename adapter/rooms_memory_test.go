package adapter

import (
	"context"
	"fmt"
	"runtime"
	"testing"

	"github.com/zishang520/engine.io/v2/types"
	"github.com/zishang520/socket.io/v2/socket"

	"github.com/architus/guildcast/internal/test/race"
	"github.com/architus/guildcast/internal/test/redistest"
)

// TestAllRoomsKeepsNoMemory shows that a list of all rooms costs nothing after it: neither in the server that asks nor
// in those that answer does it switch on the maps that the library's own adapter has.
func TestAllRoomsKeepsNoMemory(t *testing.T) {
	if race.Enabled {
		t.Skip("the race detector keeps memory of its own")
	}
	const sockets = 20_000
	server := redistest.Start(t)
	for name, constructor := range map[string]func() socket.AdapterConstructor{
		"classic": func() socket.AdapterConstructor { return New(server.Client(), Options{PatternSubscription: true}) },
		"sharded": func() socket.AdapterConstructor {
			return NewSharded(server.Client(), ShardedOptions{SubscriptionMode: Static})
		},
	} {
		t.Run(name, func(t *testing.T) {
			var nodes [2]socket.Adapter
			for i := range nodes {
				nodes[i] = newNode(t, constructor()).io.Of("/", nil).Adapter()
				for j := range sockets / len(nodes) {
					id := fmt.Sprintf("socket%d-%d", i, j)
					nodes[i].AddAll(socket.SocketId(id), types.NewSet(socket.Room(id), "all"))
				}
			}
			before := heap()
			rooms, err := nodes[0].(interface {
				AllRooms(context.Context) ([]socket.Room, error)
			}).AllRooms(t.Context())
			if n := len(rooms); err != nil || name == "classic" && n != sockets+1 || n < sockets/len(nodes) {
				t.Fatalf("%d rooms, %v", n, err)
			}
			rooms = nil
			if perSocket := (heap() - before) / sockets; perSocket > 100 {
				t.Errorf("%d bytes a socket are kept", perSocket)
			}
			runtime.KeepAlive(nodes)
		})
	}
}

// heap is the number of bytes in use.
func heap() int64 {
	runtime.GC()
	runtime.GC() // what pools held
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}
