//go:build linux

package main

import (
	"bytes"
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/golang-jwt/jwt/v5"
	"github.com/redis/go-redis/v9"

	"github.com/architus/guildcast/internal/sioclient"
)

const (
	benchSecret = "a secret for benchmarks of 32 bytes and more"
	benchGuild  = "607637793107345431"
)

func gatewayCases() []benchCase {
	gateway := []string{"bin/guildcast", "serve"}
	env := []string{"GUILDCAST_JWT_SECRET=" + benchSecret, "GUILDCAST_LIMIT_SOCKET_RATE=-1", "GUILDCAST_LIMIT_USER_RATE=-1", "GUILDCAST_LIMIT_ADDRESS_RATE=-1", "GUILDCAST_LOG_LEVEL=warn"}
	return []benchCase{
		{name: "engine: broadcast to 5000", unit: "µs", target: "(compare the next)", noNode: true,
			run: func(s *server, _ string) (float64, error) { return burst(s, 5000, 200, 200) }},
		{name: "gateway: event to 5000, 8 classes", unit: "µs", target: "<= 1.15 x the last", noNode: true, redis: true, env: env, command: gateway,
			run: func(s *server, addr string) (float64, error) { return spectators(s, addr, 5000, 200) }},
		{name: "gateway: elevation", unit: "µs", target: "<= 60 µs", noNode: true, redis: true, env: env, command: gateway,
			run: func(s *server, _ string) (float64, error) { return elevations(s, 100, 100) },
			ok:  func(_, ours float64) bool { return ours <= 60 }},
	}
}

func benchToken(user int, bits uint64) (string, error) {
	return jwt.NewWithClaims(jwt.SigningMethodHS256, jwt.MapClaims{"sub": fmt.Sprint(user), "exp": time.Now().Add(time.Hour).Unix(),
		"permissions": 0, "guilds": map[string]uint64{benchGuild: bits}}).SignedString([]byte(benchSecret))
}

// spectators: CPU per delivered event of n events to clients of eight permission classes who may all see it.
func spectators(s *server, addr string, clients, n int) (float64, error) {
	a := &audience{done: make(chan struct{})}
	ready := make(chan struct{}, clients)
	cs, err := sioclient.DialMany(s.addr, clients, func(i int) sioclient.Options {
		next := 0
		token, err := benchToken(i+1, []uint64{2, 4, 6, 0x102, 0x104, 0x106, 0x1, 0x302}[i%8])
		if err != nil {
			panic(err)
		}
		return sioclient.Options{Auth: fmt.Sprintf(`{"token":%q}`, token), OnEvent: func(p []byte) {
			switch {
			case bytes.HasPrefix(p, []byte(`["spectate_return"`)):
				ready <- struct{}{}
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
		token, err := benchToken(i+1, []uint64{2, 4, 6, 0x102, 0x104, 0x106, 0x1, 0x302}[i%8])
		if err != nil {
			return 0, err
		}
		if err := c.Send(fmt.Sprintf(`42["spectate",{"guild_id":%q,"include_logs":true,"token":%q}]`, benchGuild, token)); err != nil {
			return 0, err
		}
	}
	for range cs {
		select {
		case <-ready:
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
			pipe.Publish(ctx, benchGuild, fmt.Sprintf(`{"kind":"guild","payload":{"i":%d,"pad":%q}}`, i, pad))
		}
		if _, err := pipe.Exec(ctx); err != nil {
			return err
		}
		return a.wait()
	})
	return cpu / float64(clients*n), err
}

// elevations: CPU per request_elevation with a token that the node has not seen.
func elevations(s *server, clients, each int) (float64, error) {
	answers := make([]chan struct{}, clients)
	tokens := make([][]string, clients)
	for i := range clients {
		answers[i] = make(chan struct{}, 8)
		for j := range each {
			token, err := benchToken(i+1, uint64(j))
			if err != nil {
				return 0, err
			}
			tokens[i] = append(tokens[i], token)
		}
	}
	cs, err := sioclient.DialMany(s.addr, clients, func(i int) sioclient.Options {
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
		errs := make(chan error, clients)
		for i, c := range cs {
			go func() {
				for _, token := range tokens[i] {
					if err := c.Send(fmt.Sprintf(`42["request_elevation",{"token":%q}]`, token)); err != nil {
						errs <- err
						return
					}
					select {
					case <-answers[i]:
					case <-time.After(30 * time.Second):
						errs <- errTimeout
						return
					}
				}
				errs <- nil
			}()
		}
		for range cs {
			if err := <-errs; err != nil {
				return err
			}
		}
		return nil
	})
	return cpu / float64(clients*each), err
}
