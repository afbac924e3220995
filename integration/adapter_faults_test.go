//go:build integration

package integration

import (
	"context"
	"errors"
	"regexp"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/zishang520/socket.io/v2/socket"

	"github.com/architus/guildcast/adapter"
	"github.com/architus/guildcast/internal/test/wait"
)

// faultCluster is how to make the servers of one protocol.
type faultCluster struct {
	name string // of the adapter in node/adapter/server.mjs
	new  func(redis.UniversalClient) socket.AdapterConstructor
	// channels lists those that Redis knows, and own finds the id of a server in that which only it is subscribed to.
	channels func(context.Context, redis.UniversalClient) *redis.StringSliceCmd
	own      *regexp.Regexp
	signed   bool // Node.js servers sign their answers
}

var faultClusters = []faultCluster{
	{
		"redis",
		func(c redis.UniversalClient) socket.AdapterConstructor {
			return adapter.New(c, adapter.Options{RequestsTimeout: 10 * time.Second})
		},
		func(ctx context.Context, c redis.UniversalClient) *redis.StringSliceCmd {
			return c.PubSubChannels(ctx, "*")
		},
		regexp.MustCompile(`^socket\.io-response#/#(.+)#$`), false,
	},
	{
		"sharded",
		func(c redis.UniversalClient) socket.AdapterConstructor {
			return adapter.NewSharded(c, adapter.ShardedOptions{RequestsTimeout: 10 * time.Second})
		},
		func(ctx context.Context, c redis.UniversalClient) *redis.StringSliceCmd {
			return c.PubSubShardChannels(ctx, "*")
		},
		regexp.MustCompile(`^socket\.io#/#([0-9a-f]{16})#$`), true,
	},
}

// TestAdapterLongRooms: the name of a room can be longer than what a Redis client takes for a line, with Go and with
// Node.js.
func TestAdapterLongRooms(t *testing.T) {
	t.Parallel()
	for _, k := range faultClusters {
		t.Run(k.name, func(t *testing.T) {
			t.Parallel()
			r, b := startRedis(t), startBrowsers(t)
			client := goRedis(t, r.url)
			peers := []peer{
				startGoPeer(t, k.new(client)), startGoPeer(t, k.new(client)), startNodePeer(t, r.url, k.name, "{}"),
			}
			wait.Until(t, "three servers", func() bool { return result[int](t, peers[0], "serverCount", nil) == 3 })
			long, longer := strings.Repeat("é", 1<<16), strings.Repeat("x", 1<<20)
			var members []member
			for _, p := range peers {
				c, sid := b.connect(t, p.url(), nil)
				members = append(members, member{c, sid})
				p.call(t, "own", call{"id": sid, "targets": []string{long, longer, "short"}})
			}
			for _, room := range []string{long, longer, "short"} {
				if !k.signed {
					break // Node.js hears all rooms
				}
				wait.Until(t, "Node.js hears the room", func() bool {
					channel := "socket.io#/#" + room + "#"
					return client.PubSubShardNumSub(context.Background(), channel).Val()[channel] == 3
				})
			}
			for _, p := range peers {
				for i, room := range []string{long, longer, "short"} {
					p.call(t, "emit", call{"rooms": []string{room}, "event": "to room", "args": []any{i}})
					for j, m := range members {
						if got := m.args(t, "to room"); got != compact(t, []any{i}) {
							t.Errorf("%s to client %d: got %s, want %d", p.url(), j, got, i)
						}
					}
				}
			}
			for _, p := range peers {
				p.call(t, "leave", call{"rooms": []string{"short"}, "targets": []string{longer}})
				wait.Until(t, "nobody is in the room", func() bool {
					return len(result[[]described](t, p, "fetch", call{"rooms": []string{longer}})) == 0
				})
				p.call(t, "emit", call{"rooms": []string{long}, "event": "left", "args": []any{}})
				for _, m := range members {
					m.args(t, "left")
				}
			}
		})
	}
}

// TestAdapterMissing has a Node.js server that stops to answer: every question ends with what the others answer, and
// says who is missing.
func TestAdapterMissing(t *testing.T) {
	t.Parallel()
	for _, k := range faultClusters {
		t.Run(k.name, func(t *testing.T) {
			t.Parallel()
			r, b := startRedis(t), startBrowsers(t)
			client := goRedis(t, r.url)
			ids := func() (ids []string) {
				channels, err := k.channels(context.Background(), client).Result()
				if err != nil {
					t.Fatal(err)
				}
				for _, c := range channels {
					if m := k.own.FindStringSubmatch(c); m != nil {
						ids = append(ids, m[1])
					}
				}
				return ids
			}
			first, second := startGoPeer(t, k.new(client)), startGoPeer(t, k.new(client))
			count := func(n int) {
				t.Helper()
				wait.Until(t, "servers", func() bool {
					return result[int](t, first, "serverCount", nil) == n && len(ids()) == n
				})
			}
			count(2)
			goIDs := ids()
			healthy := startNodePeer(t, r.url, k.name, "{}")
			count(3)
			before := ids()
			stopped := startNodePeer(t, r.url, k.name, "{}")
			count(4)
			witness, _ := b.connect(t, second.url(), nil)
			b.connect(t, healthy.url(), nil)
			b.connect(t, stopped.url(), nil)
			// Who did not sign an answer: one of them is missing.
			unsigned := goIDs
			if k.signed {
				unsigned = before
			}
			missing := slices.DeleteFunc(ids(), func(id string) bool { return slices.Contains(unsigned, id) })

			if n, err := fetchAll(first.io); err != nil || n != 3 {
				t.Fatalf("fetched %d, %v", n, err)
			}
			signal(t, stopped, syscall.SIGSTOP)
			slices.Sort(missing)
			var asking sync.WaitGroup
			for _, ask := range questions(first.io) {
				asking.Go(func() {
					n, err := ask.ask()
					var e *adapter.IncompleteError
					if !errors.As(err, &e) || e.Got != 2 || e.Want != 3 || n != 2 {
						t.Errorf("%s: %d answers, %v", ask.name, n, err)
					} else if slices.Sort(e.Missing); !slices.Equal(e.Missing, missing) {
						t.Errorf("%s: %v are missing, want %v", ask.name, e.Missing, missing)
					}
				})
			}
			asking.Wait()
			signal(t, stopped, syscall.SIGCONT)
			wait.Until(t, "all to answer again", func() bool {
				n, err := fetchAll(first.io)
				return err == nil && n == 3
			})

			// One that dies is not waited for, where it can be told who has answered.
			signal(t, stopped, syscall.SIGSTOP)
			done := make(chan found, 1)
			go func() {
				values, err := adapter.EmitWithAck(context.Background(), first.io.Of("/", nil), nil, "last")
				done <- found{len(values), err}
			}()
			witness.event(t, "last", nil)
			signal(t, stopped, syscall.SIGKILL)
			cause := adapter.ErrLeft
			if !k.signed {
				cause = context.DeadlineExceeded
			}
			if f := <-done; f.n != 2 || !errors.Is(f.err, cause) {
				t.Errorf("%d answers, %v; want %v", f.n, f.err, cause)
			}
			wait.Until(t, "the dead one not to be asked", func() bool {
				n, err := fetchAll(first.io)
				return err == nil && n == 2
			})
		})
	}
}

func signal(t *testing.T, p *nodePeer, s syscall.Signal) {
	t.Helper()
	if err := p.p.cmd.Process.Signal(s); err != nil {
		t.Fatal(err)
	}
}

// question is one that all servers are asked.
type question struct {
	name string
	ask  func() (int, error) // how many values came
}

func questions(io *socket.Server) []question {
	ctx := context.Background()
	return []question{
		{"fetch sockets", func() (int, error) { return fetchAll(io) }},
		{"list rooms", func() (int, error) {
			rooms, err := io.Of("/", nil).Adapter().(interface {
				AllRooms(context.Context) ([]socket.Room, error)
			}).AllRooms(ctx)
			return len(rooms), err
		}},
		{"emit with acknowledgement", func() (int, error) {
			values, err := adapter.EmitWithAck(ctx, io.Of("/", nil), nil, "echo", 1)
			return len(values), err
		}},
		{"server side emit", func() (int, error) {
			done := make(chan found, 1)
			err := io.Of("/", nil).ServerSideEmitWithAck("ask", 1)(func(values []any, err error) {
				done <- found{len(values), err}
			})
			if err != nil {
				return 0, err
			}
			f := <-done
			return f.n, f.err
		}},
	}
}

// found is what a callback got.
type found struct {
	n   int
	err error
}

// fetchAll counts the sockets of the cluster.
func fetchAll(io *socket.Server) (int, error) {
	done := make(chan found, 1)
	io.FetchSockets()(func(s []*socket.RemoteSocket, err error) { done <- found{len(s), err} })
	f := <-done
	return f.n, f.err
}
