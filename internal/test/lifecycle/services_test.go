package lifecycle_test

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"sync/atomic"
	"testing"
	"time"

	goredis "github.com/redis/go-redis/v9"
	"go.uber.org/goleak"

	"github.com/architus/guildcast/bus"
	"github.com/architus/guildcast/engine"
	"github.com/architus/guildcast/event"
	"github.com/architus/guildcast/handlers"
	"github.com/architus/guildcast/handlers/directory"
	"github.com/architus/guildcast/internal/demo"
	"github.com/architus/guildcast/internal/service"
	"github.com/architus/guildcast/internal/test/lifecycle"
	"github.com/architus/guildcast/internal/test/redistest"
	"github.com/architus/guildcast/node"
	"github.com/architus/guildcast/permissions"
	"github.com/architus/guildcast/redis"
	"github.com/architus/guildcast/relay"
	"github.com/architus/guildcast/token"
	"github.com/architus/guildcast/token/jwks"
	"github.com/architus/guildcast/worker"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m, redistest.IgnorePools) }

const (
	module = "github.com/architus/guildcast/"
	rounds = 40
)

func newBus(t *testing.T, client goredis.UniversalClient) *bus.Bus {
	b := bus.New(client, bus.Options{})
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		if err := b.Close(ctx); err != nil {
			t.Error(err)
		}
	})
	return b
}

// each runs f with a Redis that is there, and with one that is not.
func each(t *testing.T, f func(t *testing.T, client goredis.UniversalClient)) {
	t.Run("redis", func(t *testing.T) {
		_, client := redistest.Mini(t)
		f(t, client)
	})
	t.Run("no redis", func(t *testing.T) {
		client := goredis.NewClient(&goredis.Options{Addr: "127.0.0.1:1", MaxRetries: -1})
		defer client.Close()
		f(t, client)
	})
}

func TestTopics(t *testing.T) {
	each(t, func(t *testing.T, client goredis.UniversalClient) {
		b := newBus(t, client)
		lifecycle.Conform(t, rounds, func(*testing.T) lifecycle.Service {
			topics := redis.NewTopics(b, redis.TopicsOptions{Linger: time.Millisecond})
			return lifecycle.Service{Package: module + "redis", Run: topics.Run, Use: func(ctx context.Context) error {
				release, err := topics.Acquire(ctx, event.Topic{Guild: "1"})
				if err == nil {
					client.Publish(ctx, "1", "x")
					release()
				}
				return err
			}}
		})
	})
}

func TestRelay(t *testing.T) {
	each(t, func(t *testing.T, client goredis.UniversalClient) {
		b := newBus(t, client)
		there := client.Ping(t.Context()).Err() == nil
		lifecycle.Conform(t, rounds, func(t *testing.T) lifecycle.Service {
			r, err := relay.New(b, client, relay.Options{ToPrefix: "gc:", Lease: 60 * time.Millisecond})
			if err != nil {
				t.Fatal(err)
			}
			return lifecycle.Service{Package: module + "relay", Run: r.Run, Use: func(ctx context.Context) error {
				_ = r.Stats()
				if there {
					client.Publish(ctx, "1", `{"payload":1}`)
				}
				return service.ErrEnded // nobody asks a relay for anything
			}}
		})
	})
}

func TestRequests(t *testing.T) {
	each(t, func(t *testing.T, client goredis.UniversalClient) {
		b := newBus(t, client)
		lifecycle.Conform(t, rounds, func(*testing.T) lifecycle.Service {
			requests := redis.NewRequests(client, b, redis.RequestsOptions{Timeout: 20 * time.Millisecond})
			return lifecycle.Service{Package: module + "redis", Run: requests.Run,
				Use: func(ctx context.Context) error {
					return requests.Do(ctx, "1", "all", []byte("{}"), func([]byte) error { return nil })
				}}
		})
	})
}

func TestRevocations(t *testing.T) {
	each(t, func(t *testing.T, client goredis.UniversalClient) {
		b := newBus(t, client)
		lifecycle.Conform(t, rounds, func(*testing.T) lifecycle.Service {
			revocations := redis.NewRevocations(client, b, redis.RevocationsOptions{
				Apply: func(m []byte) (redis.Revocation, bool, error) {
					return redis.Revocation{Record: `{"sub":"1"}`, Expires: time.Now().Add(time.Hour)}, true, nil
				},
				Reread: time.Millisecond,
			})
			return lifecycle.Service{Package: module + "redis", Run: revocations.Run,
				Use: func(ctx context.Context) error {
					_, _ = redis.Revoke(ctx, client, []byte(`{"sub":"1"}`), time.Now().Add(time.Hour))
					return revocations.Load(ctx)
				}}
		})
	})
}

type holder struct{}

func (holder) Present() bool { return true }

func TestDirectories(t *testing.T) {
	each(t, func(t *testing.T, client goredis.UniversalClient) {
		topics := redis.NewTopics(newBus(t, client), redis.TopicsOptions{})
		lifecycle.Start(t, topics.Run)
		client.HSet(t.Context(), "guildcast:pool:{1}:member", "2", `{"id":"2","name":"a"}`)
		lifecycle.Conform(t, rounds, func(*testing.T) lifecycle.Service {
			set := directory.New(redis.NewEntities(client, nil), topics, directory.Options{})
			return lifecycle.Service{Package: module + "handlers/directory", Run: set.Run,
				Use: func(ctx context.Context) error {
					_, _, err := set.Search(ctx, &holder{}, directory.Pool{Guild: "1", Kind: "member"}, "a", 1)
					return err
				}}
		})
	})
}

func TestGateway(t *testing.T) {
	each(t, func(t *testing.T, client goredis.UniversalClient) {
		topics := redis.NewTopics(newBus(t, client), redis.TopicsOptions{})
		lifecycle.Start(t, topics.Run)
		revoked := &permissions.Revocations{}
		verifier, err := token.NewVerifier(token.VerifierOptions{
			Secrets: []token.Secret{{Key: make([]byte, 32)}}, Revocations: revoked,
		})
		if err != nil {
			t.Fatal(err)
		}
		lifecycle.Conform(t, rounds, func(t *testing.T) lifecycle.Service {
			io, handler := engine.NewServer(nil, engine.Options{})
			t.Cleanup(func() {
				if err := handler.Shutdown(context.Background()); err != nil {
					t.Error(err)
				}
			})
			gateway, err := handlers.New(io, handlers.Parts{
				Verifier: verifier, Revocations: revoked, Topics: topics,
				Filter: permissions.NewFilter[*engine.Conn](permissions.DefaultPolicy()),
			}, handlers.Config{})
			if err != nil {
				t.Fatal(err)
			}
			return lifecycle.Service{Package: module + "handlers", Run: gateway.Run}
		})
	})
}

type echo struct{}

func (echo) Handle(_ context.Context, _ string, args []byte, reply func([]byte, bool) error) error {
	return reply(args, false)
}

func TestWorker(t *testing.T) {
	each(t, func(t *testing.T, client goredis.UniversalClient) {
		// go-redis can't interrupt a read, which takes 0.5 s
		lifecycle.Conform(t, 5, func(*testing.T) lifecycle.Service {
			return lifecycle.Service{Package: module + "worker", Run: worker.New(client, echo{}, worker.Options{}).Run}
		})
	})
}

func TestKeySet(t *testing.T) {
	issuer := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		_, _ = w.Write([]byte(`{"keys":[]}`))
	}))
	defer issuer.Close()
	lifecycle.Conform(t, rounds, func(t *testing.T) lifecycle.Service {
		keys, err := jwks.New(issuer.URL, jwks.Options{Refresh: time.Millisecond, MinInterval: time.Millisecond})
		if err != nil {
			t.Fatal(err)
		}
		return lifecycle.Service{Package: module + "token/jwks", Run: keys.Run, Use: func(ctx context.Context) error {
			_, err := keys.PublicKeys(ctx, "a", "EdDSA")
			return err
		}}
	})
}

func TestDemo(t *testing.T) {
	each(t, func(t *testing.T, client goredis.UniversalClient) {
		world := demo.NewWorld(demo.Config{Members: 10})
		lifecycle.Conform(t, rounds, func(*testing.T) lifecycle.Service {
			generator := demo.NewGenerator(world, client, demo.GeneratorConfig{Interval: time.Millisecond})
			return lifecycle.Service{Package: module + "internal/demo", Run: generator.Run}
		})
	})
}

func TestNode(t *testing.T) {
	lifecycle.Conform(t, 5, func(t *testing.T) lifecycle.Service {
		var url atomic.Pointer[string]
		n, err := node.New(node.Config{
			Addr: "127.0.0.1:0", Grace: time.Millisecond, JWTSecrets: []token.Secret{{Key: make([]byte, 32)}},
			Listening: func(i node.Info) { url.Store(&i.URL) },
		})
		if err != nil {
			t.Fatal(err)
		}
		client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
		return lifecycle.Service{Package: module + "node", Run: n.Run, Use: func(ctx context.Context) error {
			if url.Load() == nil {
				return errors.New("the node does not listen")
			}
			request, err := http.NewRequestWithContext(ctx, http.MethodGet, *url.Load()+"/readyz", nil)
			if err != nil {
				return err
			}
			response, err := client.Do(request)
			if err != nil {
				return err
			}
			return response.Body.Close()
		}}
	})
}
