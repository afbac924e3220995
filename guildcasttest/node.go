// Package guildcasttest runs a node in a test's process, for tests of what speaks to one: a bot's backend, a worker, an
// API. The node has a Redis of its own in memory and is ready in milliseconds.
package guildcasttest

import (
	"cmp"
	"context"
	"encoding/json"
	"log/slog"
	"net/http"
	"strings"
	"testing"
	"time"

	goredis "github.com/redis/go-redis/v9"

	"github.com/architus/guildcast/event"
	"github.com/architus/guildcast/history"
	"github.com/architus/guildcast/internal/botwire"
	"github.com/architus/guildcast/node"
	"github.com/architus/guildcast/permissions"
	"github.com/architus/guildcast/token"
	"github.com/architus/guildcast/worker"
)

// Secret signs the tokens of a node whose Config names no other.
const Secret = "the secret of a node in a test, which everybody knows"

// Options of Start. The zero value works.
type Options struct {
	// Config of the node. Addr, Redis and Listening are set by Start; JWTSecrets and Logger if they are empty.
	Config node.Config

	// Worker answers what the node does not find among the entities, and `interpret` if Config says so. Nil answers
	// that there is nothing.
	Worker worker.Handler

	// Timeout is how long a Client waits for what must come. Default 10 s.
	Timeout time.Duration
}

// Node is a node that runs until the end of its test. A method that can't do what it should fails the test. All methods
// may be called concurrently, from goroutines of the test as far as testing.TB allows it to fail there.
type Node struct {
	URL   string          // where clients connect
	Redis *goredis.Client // the node's Redis

	t       testing.TB
	addr    string // host:port
	secret  token.Secret
	prefix  string // of topics
	timeout time.Duration
	durable *history.Publisher
}

// Start starts a node and returns once it is ready. It stops the node at the end of the test, after the clients.
func Start(t testing.TB, o Options) *Node {
	t.Helper()
	c := o.Config
	listening := make(chan node.Info, 1)
	c.Addr, c.Redis = "127.0.0.1:0", "embedded://127.0.0.1:0"
	c.Listening = func(i node.Info) { listening <- i }
	if len(c.JWTSecrets) == 0 {
		c.JWTSecrets = []token.Secret{{Key: []byte(Secret)}}
	}
	c.Advertise = cmp.Or(c.Advertise, node.AdvertiseOff) // there is no other node
	c.Logger = cmp.Or(c.Logger, slog.New(slog.NewTextHandler(t.Output(), &slog.HandlerOptions{Level: slog.LevelWarn})))
	c.Grace = cmp.Or(c.Grace, 100*time.Millisecond)
	n, err := node.New(c)
	if err != nil {
		t.Fatal(err)
	}
	stop := run(t, n.Run)
	select {
	case info := <-listening:
		return newNode(t, info, o, c)
	case err := <-stop:
		t.Fatalf("run the node: %v", err)
		return nil
	}
}

func newNode(t testing.TB, info node.Info, o Options, c node.Config) *Node {
	t.Helper()
	n := &Node{
		URL: info.URL, t: t, secret: c.JWTSecrets[0], prefix: c.TopicPrefix,
		timeout: cmp.Or(o.Timeout, 10*time.Second),
	}
	_, n.addr, _ = strings.Cut(info.URL, "://")
	// A command that was sent twice would be a message that came twice.
	n.Redis = goredis.NewClient(&goredis.Options{Addr: info.Redis, MaxRetries: -1})
	t.Cleanup(func() { _ = n.Redis.Close() })
	n.durable = history.NewPublisher(n.Redis, history.PublisherOptions{TopicPrefix: n.prefix})
	n.startWorker(o.Worker)
	n.waitReady()
	return n
}

// startWorker runs a worker until the end of the test. It has a client of its own, whose end interrupts it: a read of
// the worker waits for half a second.
func (n *Node) startWorker(h worker.Handler) {
	if h == nil {
		h = nothing{}
	}
	client := goredis.NewClient(&goredis.Options{Addr: n.Redis.Options().Addr, MaxRetries: -1})
	run(n.t, func(ctx context.Context) error {
		defer context.AfterFunc(ctx, func() { _ = client.Close() })()
		return worker.New(client, h, worker.Options{}).Run(ctx)
	})
}

// run runs something until the end of the test. The channel gets its error if it ends before.
func run(t testing.TB, f func(context.Context) error) <-chan error {
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() {
		ended <- f(ctx)
		close(ended)
	}()
	t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Errorf("stop: %v", err)
		}
	})
	return ended
}

// waitReady returns once the node hears its Redis and knows which tokens are revoked.
func (n *Node) waitReady() {
	n.t.Helper()
	client := http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(time.Millisecond) {
		response, err := client.Get(n.URL + "/readyz")
		if err == nil {
			_ = response.Body.Close()
			if response.StatusCode == http.StatusOK {
				return
			}
		}
		if time.Now().After(deadline) {
			n.t.Fatalf("the node is not ready: %v", err)
		}
	}
}

// Claims of a token. The zero value is a token of nobody, which nodes refuse.
type Claims struct {
	User          string                      // sub
	Guilds        map[string]permissions.Bits // the guilds of the user, with the permissions there
	Permissions   *permissions.Bits           // in every guild; nil is permissions.Default
	ArchitusAdmin bool
	ID            string        // jti, to revoke the token by; "" for none
	Lasts         time.Duration // default 1 hour
	IssuedAt      time.Time     // default now
}

// Token mints a token.
func (n *Node) Token(c Claims) string {
	n.t.Helper()
	issued := c.IssuedAt
	if issued.IsZero() {
		issued = time.Now()
	}
	claims := map[string]any{
		"sub": c.User, "iat": issued.Unix(), "exp": issued.Add(cmp.Or(c.Lasts, time.Hour)).Unix(), "guilds": c.Guilds,
	}
	if c.Permissions != nil {
		claims["permissions"] = *c.Permissions
	}
	if c.ArchitusAdmin {
		claims["architus_admin"] = true
	}
	if c.ID != "" {
		claims["jti"] = c.ID
	}
	signed, err := token.Sign(n.secret, claims)
	if err != nil {
		n.t.Fatal(err)
	}
	return signed
}

// Event is a guild event.
type Event struct {
	Guild    string
	Logs     bool     // of the topic of log entries
	Name     string   // default log_pool or, with Logs, log_other
	Kind     string   // what the policy goes by, such as event.KindMember
	Private  bool     //
	Requires []string // names of permissions
	Payload  any      // encoded as JSON; a json.RawMessage stays as it is
	Durable  bool     // kept in the guild's history
}

// Publish publishes an event and returns its position, "" if it is not durable. An event that nodes would drop fails
// the test.
func (n *Node) Publish(e Event) (position string) {
	n.t.Helper()
	envelope := map[string]any{"payload": e.Payload, "kind": e.Kind, "private": e.Private}
	if e.Name != "" {
		envelope["event"] = e.Name
	}
	if len(e.Requires) > 0 {
		envelope["requires"] = e.Requires
	}
	return n.PublishMessage(event.Topic{Guild: e.Guild, Logs: e.Logs}, envelope, e.Durable)
}

// PublishMessage publishes a message as it is: a log action, or an envelope that Publish does not make.
func (n *Node) PublishMessage(topic event.Topic, message any, durable bool) (position string) {
	n.t.Helper()
	data := n.encode(message)
	if _, err := event.Parse(topic, data); err != nil {
		n.t.Fatal(err)
	}
	if durable {
		p, err := n.durable.Publish(context.Background(), topic, data)
		n.must(err)
		return p.String()
	}
	n.must(n.Redis.Publish(context.Background(), topic.Channel(n.prefix), data).Err())
	return ""
}

// SetEntities writes entities into a pool, by their ids. Guild is "" for a pool that belongs to no guild; kind is a
// type of entities, such as "member".
func (n *Node) SetEntities(guild, kind string, entities ...any) {
	n.t.Helper()
	n.checkKind(kind)
	for _, e := range entities {
		data := n.encode(e)
		var fields struct{ ID string }
		if json.Unmarshal(data, &fields) != nil || fields.ID == "" {
			n.t.Fatalf("%s has no id that is a string", data)
		}
		n.must(n.Redis.HSet(context.Background(), botwire.PoolKey(guild, kind), fields.ID, data).Err())
	}
}

// RemoveEntities removes entities from a pool.
func (n *Node) RemoveEntities(guild, kind string, ids ...string) {
	n.t.Helper()
	n.checkKind(kind)
	n.must(n.Redis.HDel(context.Background(), botwire.PoolKey(guild, kind), ids...).Err())
}

// SetOnline says who is online in a guild: these members and no others.
func (n *Node) SetOnline(guild string, ids ...string) {
	n.t.Helper()
	key := botwire.OnlineKey(guild)
	n.must(n.Redis.Del(context.Background(), key).Err())
	for _, id := range ids {
		n.must(n.Redis.SAdd(context.Background(), key, id).Err())
	}
}

// Revoke revokes tokens. Clients that have one get elevation_expired.
func (n *Node) Revoke(r permissions.Revocation) {
	n.t.Helper()
	if r.Expires.IsZero() {
		r.Expires = time.Now().Add(time.Hour)
	}
	n.must(n.Redis.Publish(context.Background(), botwire.RevokeChannel, n.encode(r)).Err())
}

func (n *Node) checkKind(kind string) {
	n.t.Helper()
	if !botwire.ValidType(kind) {
		n.t.Fatalf("there is no type of entities %q", kind)
	}
}

func (n *Node) encode(v any) []byte {
	n.t.Helper()
	data, err := json.Marshal(v)
	n.must(err)
	return data
}

func (n *Node) must(err error) {
	n.t.Helper()
	if err != nil {
		n.t.Fatal(err)
	}
}
