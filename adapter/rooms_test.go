package adapter

import (
	"strings"
	"testing"

	"github.com/redis/go-redis/v9"
	"github.com/zishang520/socket.io/v2/socket"
)

// TestExpectedRooms: to join a room that is expected of the members of another tells Redis nothing new, and what is
// sent to it reaches members only.
func TestExpectedRooms(t *testing.T) {
	t.Parallel()
	expect := func(room socket.Room) []socket.Room {
		if strings.HasSuffix(string(room), "-later") {
			return nil
		}
		return []socket.Room{room + "-later"}
	}
	test := func(t *testing.T, nodes []*node, channels int) {
		a, b := nodes[0].cluster("/"), nodes[0].cluster("/").bus
		before := b.Stats().Subscriptions
		c := nodes[0].connect("/")
		held := await(t, func() (int, bool) { n := b.Stats().Subscriptions; return n, n >= before+channels })
		confirmed(t, b)
		later := socket.Room(c.sid + "-later")
		s, _ := nodes[0].io.Sockets().Sockets().Load(socket.SocketId(c.sid))
		for range 2 {
			s.Join(later)
			if n := b.Stats().Subscriptions; n != held {
				t.Errorf("%d channels, %d before the join", n, held)
			}
			nodes[1].io.To(later).Emit("late")
			c.wants("late")
			s.Leave(later)
		}
		nodes[1].io.To(later).Emit("left")
		wantNothing(t, c)
		s.Join(later)
		s.Disconnect(true)
		await(t, func() (int, bool) { n := b.Stats().Subscriptions; return n, n == before })
		a.rooms.mu.Lock()
		defer a.rooms.mu.Unlock()
		if len(a.rooms.held) != 0 {
			t.Errorf("channels are left: %v", a.rooms.held)
		}
	}
	t.Run("classic", func(t *testing.T) {
		each(t, func(t *testing.T, c redis.UniversalClient, o Options) {
			channels := 2
			if o.PatternSubscription {
				channels = 0
			}
			o.Expect = expect
			test(t, classicCluster(t, c, 2, o), channels)
		})
	})
	t.Run("sharded", func(t *testing.T) {
		eachSharded(t, func(t *testing.T, c redis.UniversalClient, o ShardedOptions) {
			o.Expect = expect
			channels := map[SubscriptionMode]int{Static: 0, Dynamic: 1, DynamicPrivate: 2}[o.SubscriptionMode]
			test(t, shardedCluster(t, c, 2, o), channels)
		})
	})
}
