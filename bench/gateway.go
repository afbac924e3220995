//go:build linux

package main

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/architus/guildcast/event"
	"github.com/architus/guildcast/history"
	"github.com/architus/guildcast/internal/test/sioclient"
	"github.com/architus/guildcast/permissions"
	"github.com/architus/guildcast/token"
)

const (
	audienceSize = 5000 // of events and broadcasts

	benchSecret = "a secret for benchmarks of 32 bytes and more"
	benchGuild  = "607637793107345431"
)

// unlimited is the environment of a node whose clients all come from one address, at once.
var unlimited = []string{
	"GUILDCAST_JWT_SECRET=" + benchSecret, "GUILDCAST_LOG_LEVEL=warn", "GUILDCAST_LIMIT_SOCKET_RATE=-1",
	"GUILDCAST_LIMIT_USER_RATE=-1", "GUILDCAST_LIMIT_ADDRESS_RATE=-1", "GUILDCAST_LIMIT_CONNECTS=-1",
	"GUILDCAST_LIMIT_ADDRESS_CONNECTS=-1", "GUILDCAST_LIMIT_ADDRESS_CONNECTIONS=-1",
}

func gatewayCases() []benchCase {
	gateway := []string{"bin/guildcast", "serve"}
	env := unlimited
	search := func(clients, each int) func(*server, string) (float64, error) {
		return func(s *server, addr string) (float64, error) { return searches(s, addr, clients, each) }
	}
	return []benchCase{
		{name: "gateway: event to 5000, burst", unit: "µs", target: "<= 1.15 x broadcast", redis: true, env: env,
			command: gateway,
			beside:  func(s *server, addr string) (float64, error) { return plainBroadcast(s, addr, 400, 0) },
			run: func(s *server, addr string) (float64, error) {
				return guildEvents(s, addr, 400, 0)
			}, ok: atMost(1.15)},
		{name: "gateway: event to 5000, paced", unit: "µs", target: "<= 1.15 x broadcast", redis: true, env: env,
			command: gateway,
			beside: func(s *server, addr string) (float64, error) {
				return plainBroadcast(s, addr, 50, 100*time.Millisecond)
			},
			run: func(s *server, addr string) (float64, error) {
				return guildEvents(s, addr, 50, 100*time.Millisecond)
			}, ok: atMost(1.15)},
		{name: "gateway: filter, 8 classes", unit: "ns", target: "<= 2160 ns", local: func() (float64, error) {
			return decisions(8)
		},
			ok: func(_, ours float64) bool { return ours <= 2000+8*20 }},
		{name: "gateway: filter, 64 classes", unit: "ns", target: "<= 3280 ns", local: func() (float64, error) {
			return decisions(64)
		},
			ok: func(_, ours float64) bool { return ours <= 2000+64*20 }},
		{name: "gateway: elevation", unit: "µs", target: "<= 60 µs", noNode: true, redis: true, env: env,
			command: gateway,
			run:     func(s *server, _ string) (float64, error) { return elevations(s, 10_000, 1) },
			ok:      func(_, ours float64) bool { return ours <= 60 }},
		{name: "gateway: elevation, demoted before", unit: "µs", target: "(both together)", noNode: true, redis: true,
			env: env, command: gateway,
			run: func(s *server, _ string) (float64, error) { return elevations(s, 100, 100) }},
		{name: "gateway: durable event to 5000, burst", unit: "x", target: "<= 1.05 x plain", noNode: true, redis: true,
			env: env, command: gateway,
			run: func(s *server, addr string) (float64, error) { return durable(s, addr, 400, 0) },
			ok:  func(_, ours float64) bool { return ours <= 1.05 }},
		{name: "gateway: durable event to 5000, paced", unit: "x", target: "<= 1.05 x plain", noNode: true, redis: true,
			env: env, command: gateway,
			run: func(s *server, addr string) (float64, error) { return durable(s, addr, 50, 100*time.Millisecond) },
			ok:  func(_, ours float64) bool { return ours <= 1.05 }},
		{name: "gateway: 5000 return, 100 events each", unit: "µs", target: "<= 150 µs a client", noNode: true,
			redis: true, env: env, command: gateway, run: func(s *server, addr string) (float64, error) {
				cpu, _, err := returning(s, addr, 100)
				return cpu, err
			}, ok: func(_, ours float64) bool { return ours <= 150 }},
		{name: "gateway: 5000 return, until the last is live", unit: "s", target: "<= 3 s", noNode: true,
			redis: true, env: env, command: gateway, run: func(s *server, addr string) (float64, error) {
				_, wall, err := returning(s, addr, 100)
				return wall.Seconds(), err
			}, ok: func(_, ours float64) bool { return ours <= 3 }},
		{name: "gateway: search p99", unit: "ms", target: "<= 30 ms", noNode: true, redis: true, env: env,
			command: gateway,
			run:     search(1, 500), ok: func(_, ours float64) bool { return ours <= 30 }},
		{name: "gateway: search p99, 10 clients", unit: "ms", target: "<= 30 ms", noNode: true, redis: true, env: env,
			command: gateway,
			run:     search(10, 100), ok: func(_, ours float64) bool { return ours <= 30 }},
	}
}

func benchToken(user int, bits uint64) (string, error) {
	return token.Sign(token.Secret{Key: []byte(benchSecret)}, map[string]any{"sub": fmt.Sprint(user),
		"exp": time.Now().Add(time.Hour).Unix(), "permissions": 0, "guilds": map[string]uint64{benchGuild: bits}})
}

// fanOut is one way from a message of Redis to many clients. Both ways bring the same bytes, log_pool with a payload of
// 200 and some, to the same number of clients, and the messages come in the same way.
type fanOut struct {
	enter   func(i int) string       // the packet with which client i becomes one of those who get the messages
	entered string                   // what the answer to it begins with
	channel string                   // of Redis
	message func(data string) string // what is published there
	durable bool                     // by way of the guild's history
	clients int                      // 0 is audienceSize
	batch   int                      // messages in one go, if there are pauses; 0 is one
}

// plainBroadcast: CPU per delivery of n broadcasts of package engine to a room.
func plainBroadcast(s *server, addr string, n int, every time.Duration) (float64, error) {
	const channel = "bench:broadcast"
	ready := make(chan struct{})
	control, err := sioclient.Dial(s.addr, sioclient.Options{OnEvent: func([]byte) { close(ready) }})
	if err != nil {
		return 0, err
	}
	defer control.Close()
	if err := control.Send(`420["relay","` + channel + `","room"]`); err != nil {
		return 0, err
	}
	if err := waitAll(ready, func() string { return "the relay's answer" }); err != nil {
		return 0, err
	}
	way := fanOut{
		enter: func(int) string { return `420["join","room"]` }, entered: "0[", channel: channel,
		message: func(data string) string { return data },
	}
	return way.cost(s, addr, n, every)
}

// guildEvents: CPU per delivery of n events to spectators of eight permission classes who may all see them.
func guildEvents(s *server, addr string, n int, every time.Duration) (float64, error) {
	way, err := spectating("")
	if err != nil {
		return 0, err
	}
	return way.cost(s, addr, n, every)
}

// spectating has clients spectate the guild, with these fields besides.
func spectating(fields string) (fanOut, error) {
	tokens := make([]string, audienceSize)
	for i := range tokens {
		var err error
		if tokens[i], err = benchToken(i+1, []uint64{2, 4, 6, 0x102, 0x104, 0x106, 0x1, 0x302}[i%8]); err != nil {
			return fanOut{}, err
		}
	}
	return fanOut{
		enter: func(i int) string {
			return fmt.Sprintf(`42["request_elevation",{"token":%q}]`, tokens[i]) + "\n" +
				fmt.Sprintf(`42["spectate",{"guild_id":%q,"include_logs":true,"token":%q%s}]`, benchGuild, tokens[i],
					fields)
		},
		entered: `["spectate_return",{"success":true`, channel: benchGuild,
		message: func(data string) string { return `{"kind":"guild","payload":` + data + `}` },
	}, nil
}

// cost gathers the clients and publishes n messages, in one go or with a pause after each.
func (w fanOut) cost(s *server, addr string, n int, every time.Duration) (float64, error) {
	clients := w.clients
	if clients == 0 {
		clients = audienceSize
	}
	a := &audience{done: make(chan struct{})}
	entered := make(chan struct{}, clients)
	cs, err := sioclient.DialMany(s.addr, clients, func(int) sioclient.Options {
		next := 0
		return sioclient.Options{OnEvent: func(p []byte) {
			switch {
			case bytes.HasPrefix(p, []byte(w.entered)):
				entered <- struct{}{}
			case bytes.HasPrefix(p, []byte(`["log_pool"`)):
				if number(p, `["log_pool",{"i":`) != next {
					a.wrong.Add(1)
				}
				next++
				a.count()
			}
		}}
	})
	if err != nil {
		return 0, err
	}
	defer sioclient.CloseAll(cs)
	for i, c := range cs {
		for packet := range strings.SplitSeq(w.enter(i), "\n") {
			if err := c.Send(packet); err != nil {
				return 0, err
			}
		}
	}
	for range cs {
		select {
		case <-entered:
		case <-time.After(30 * time.Second):
			return 0, errTimeout
		}
	}
	client := redis.NewClient(&redis.Options{Addr: addr})
	defer client.Close()
	pad, ctx := strings.Repeat("x", 200), context.Background()
	a.expect(clients * n)
	cpu, err := s.cpu(func() error {
		pipe := client.Pipeline()
		for i := range n {
			w.publish(ctx, pipe, w.message(fmt.Sprintf(`{"i":%d,"pad":%q}`, i, pad)))
			if i < n-1 && (every == 0 || (i+1)%max(1, w.batch) != 0) {
				continue
			}
			if _, err := pipe.Exec(ctx); err != nil {
				return err
			}
			time.Sleep(every)
		}
		return a.wait()
	})
	return cpu / float64(clients*n), err
}

func (w fanOut) publish(ctx context.Context, pipe redis.Pipeliner, message string) {
	if w.durable {
		pipe.Eval(ctx, history.Script, []string{"guildcast:history:{" + w.channel + "}"}, w.channel, message,
			history.DefaultMaxEntries, history.DefaultMaxAge.Milliseconds())
		return
	}
	pipe.Publish(ctx, w.channel, message)
}

// decisions: CPU of the filter alone for one event to 5,000 spectators in this many classes.
func decisions(classes int) (float64, error) {
	const spectators, n = 5000, 200_000
	f := permissions.NewFilter[*int](permissions.DefaultPolicy())
	now := time.Now()
	for i := range spectators {
		// 0x10000 and up have no names: each sum is a class
		bits := uint64(permissions.ViewSettings) | uint64(i%classes)<<16
		claims, err := permissions.ParseClaims(fmt.Appendf(nil,
			`{"sub":"%d","exp":%d,"permissions":0,"guilds":{%q:%d}}`,
			i+1, now.Add(time.Hour).Unix(), benchGuild, bits))
		if err != nil {
			return 0, err
		}
		if err := f.Spectate(new(int), permissions.View{Guild: benchGuild, Claims: claims}, now); err != nil {
			return 0, err
		}
	}
	e, err := event.Parse(event.Topic{Guild: benchGuild}, []byte(`{"kind":"setting","payload":{}}`))
	if err != nil {
		return 0, err
	}
	batches, _ := f.Route(nil, &e, now)
	if len(batches) != classes {
		return 0, fmt.Errorf("%d classes", len(batches))
	}
	cpu, err := cpuOf(os.Getpid(), func() error {
		for range n {
			batches, _ = f.Route(batches[:0], &e, time.Now())
		}
		return nil
	})
	return cpu * 1000 / n, err
}

// elevations: CPU per request_elevation of a socket that is not elevated, with a token that the node has not seen. From
// its second elevation on, a socket is demoted first, and that counts, too.
func elevations(s *server, sockets, each int) (float64, error) {
	const atOnce = 100
	tokens := make([]string, sockets*each)
	for i := range tokens {
		var err error
		if tokens[i], err = benchToken(i%sockets+1, uint64(i/sockets)); err != nil {
			return 0, err
		}
	}
	answers := make([]chan struct{}, sockets)
	cs, err := sioclient.DialMany(s.addr, sockets, func(i int) sioclient.Options {
		answers[i] = make(chan struct{}, 2)
		return sioclient.Options{OnEvent: func(p []byte) {
			if bytes.HasPrefix(p, []byte(`["request_elevation_return",{"success":true`)) {
				answers[i] <- struct{}{}
			}
		}}
	})
	if err != nil {
		return 0, err
	}
	defer sioclient.CloseAll(cs)
	cpu, err := s.cpu(func() error {
		errs := make(chan error, atOnce)
		for first := range atOnce {
			go func() {
				for i := first; i < len(tokens); i += atOnce {
					socket := i % sockets
					if i >= sockets {
						if err := cs[socket].Send(fmt.Sprintf(`42["demote",{"token":%q}]`,
							tokens[i-sockets])); err != nil {
							errs <- err
							return
						}
					}
					if err := cs[socket].Send(fmt.Sprintf(`42["request_elevation",{"token":%q}]`,
						tokens[i])); err != nil {
						errs <- err
						return
					}
					select {
					case <-answers[socket]:
					case <-time.After(30 * time.Second):
						errs <- errTimeout
						return
					}
				}
				errs <- nil
			}()
		}
		for range atOnce {
			if err := <-errs; err != nil {
				return err
			}
		}
		return nil
	})
	return cpu / float64(len(tokens)), err
}
