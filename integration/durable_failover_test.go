//go:build integration

package integration

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"
	goredis "github.com/redis/go-redis/v9"

	"github.com/architus/guildcast/event"
	"github.com/architus/guildcast/history"
	"github.com/architus/guildcast/internal/redisurl"
	"github.com/architus/guildcast/internal/test/redistest"
	"github.com/architus/guildcast/internal/test/sioclient"
	"github.com/architus/guildcast/internal/test/wait"
)

const (
	failoverGuild = "7300000000000000001" // has events all the time
	quietGuild    = "7300000000000000002" // had one event, in a part of the cluster that stays as it is
)

// keeper is a Redis with replicas that keeps histories.
type keeper struct {
	url     string
	options []string // of the node
	sharded bool     // topics
	cluster *redistest.Cluster
	primary *redistest.Server // of failoverGuild
	replica *redistest.Server
	client  func() goredis.UniversalClient
	manual  func(t *testing.T) // has replica take the place of primary
}

// TestChaosDurableFailover: the server that holds a guild's history is killed, frozen, replaced by its replica, or
// gives its slot away, while events are published durably, and some clients blink. A client, with positions or without,
// gets the history's events in order and once, without a resync, unless the replica lacked what clients had received.
// Then all of the guild's clients are told, and those of a guild that has lost nothing are not. (What was lost before a
// node had received it, nobody can know but the publisher: Redis had accepted it.)
func TestChaosDurableFailover(t *testing.T) {
	beside(t)
	kinds := map[string]func(*testing.T) *keeper{
		"sentinel": keepWithSentinel, "cluster": keepInCluster,
		"cluster, sharded topics": func(t *testing.T) *keeper {
			k := keepInCluster(t)
			k.sharded, k.options = true, []string{"GUILDCAST_TOPICS=sharded"}
			return k
		},
	}
	events := map[string]func(*testing.T, *keeper){
		"kill":   func(_ *testing.T, k *keeper) { k.primary.Stop() },
		"manual": func(t *testing.T, k *keeper) { k.manual(t) },
		"freeze": func(_ *testing.T, k *keeper) {
			k.primary.Pause()
			<-time.After(4 * time.Second)
			k.primary.Resume()
		},
		"lost writes": func(t *testing.T, k *keeper) {
			k.replica.Pause()
			if err := k.primary.Client().ClientKillByFilter(t.Context(), "TYPE", "replica").Err(); err != nil {
				t.Fatal(err)
			}
			<-time.After(time.Second) // in which events are published, and delivered
			k.primary.Stop()
			k.replica.Resume()
		},
		"slot moves": func(_ *testing.T, k *keeper) {
			for range 3 {
				k.cluster.MoveSlot(historyKey(failoverGuild))
				<-time.After(time.Second)
			}
		},
	}
	for kind, begin := range kinds {
		for name, happens := range events {
			if kind == "sentinel" && name == "slot moves" {
				continue
			}
			t.Run(kind+", "+name, func(t *testing.T) {
				beside(t)
				k := begin(t)
				overtakes := name == "slot moves" && !k.sharded
				durableFailOver(t, k, name == "lost writes", overtakes, func() { happens(t, k) })
			})
		}
	}
}

// durableFailOver has clients follow k's histories while happens does something to it, and judges. It requires a loss
// if mustLose. If mayOvertake, clients may be told of a message that another one has overtaken.
func durableFailOver(t *testing.T, k *keeper, mustLose, mayOvertake bool, happens func()) {
	n := startNode(t, "node", k.url, append(k.options, "GUILDCAST_LIMIT_ADDRESS_RATE=-1")...)
	p := &durablePublisher{publisher: func() *history.Publisher {
		return history.NewPublisher(k.client(), history.PublisherOptions{MaxEntries: 100_000, Sharded: k.sharded})
	}}
	p.publish(t.Context(), quietGuild, 0)
	p.publish(t.Context(), failoverGuild, 0)
	var followers, quiet []*resumer
	for i := range 20 {
		followers = append(followers, newResumer(t, n, failoverGuild, i%4 == 0))
	}
	for range 3 {
		quiet = append(quiet, newResumer(t, n, quietGuild, false))
	}
	var stayers []*stayer
	for range 3 {
		stayers = append(stayers, newStayer(t, n, failoverGuild))
	}
	var running sync.WaitGroup
	defer running.Wait()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	for _, r := range append(followers, quiet...) {
		running.Go(func() { r.run(ctx) })
	}
	wait.Until(t, "all spectate", func() bool {
		return !slices.ContainsFunc(append(followers, quiet...), func(r *resumer) bool { return r.at().IsZero() })
	})
	publishing, stop := context.WithCancel(ctx)
	publisher := sync.WaitGroup{}
	publisher.Go(func() { p.run(publishing) })
	wait.Until(t, "events", func() bool { return p.count() > 100 })
	happens()
	<-time.After(8 * time.Second) // a failover comes to its end
	settled := p.count()
	wait.Until(t, "events after it", func() bool { return p.count() > settled+200 })
	stop()
	publisher.Wait()
	reference, numbers := readHistory(t, k.client(), failoverGuild)
	last, lastNumber := reference[len(reference)-1], numbers[len(numbers)-1]
	wait.Until(t, "all to have the last event", func() bool {
		return !slices.ContainsFunc(followers, func(r *resumer) bool { return r.at() != last }) &&
			!slices.ContainsFunc(stayers, func(l *stayer) bool { return l.last() != lastNumber })
	})
	cancel()
	running.Wait()
	lost := 0
	for _, r := range followers {
		lost = max(lost, r.unknown(reference))
	}
	for i, r := range followers {
		err := r.judge(reference, lost > 0)
		if mayOvertake && len(r.notices) > 0 {
			err = r.judgeOvertaken(reference)
		}
		if err != nil {
			t.Errorf("%d: %v", i, err)
		}
	}
	for i, l := range stayers {
		if err := l.judge(numbers[1:], lost > 0, mayOvertake); err != nil {
			t.Errorf("%d, without positions: %v", i, err)
		}
	}
	for i, r := range quiet {
		if r.told() || len(r.trouble) > 0 || len(r.got) > 0 {
			t.Errorf("%d, of the quiet guild, was told %t, has %d events: %q", i, r.told(), len(r.got), r.trouble)
		}
	}
	if mustLose && lost == 0 {
		t.Error("nothing was lost: this proves nothing")
	}
	t.Logf("%d events, %d received and lost, %d not accepted, of late %v", len(reference), lost, p.failures, p.err)
	n.drain(t)
}

// durablePublisher publishes numbered events durably.
type durablePublisher struct {
	publisher func() *history.Publisher

	mu       sync.Mutex
	accepted []history.Position
	failures int
	err      error // the last failure
}

func (p *durablePublisher) publish(ctx context.Context, guild string, i int) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 2*time.Second)
	defer cancel()
	at, err := p.publisher().Publish(ctx, event.Topic{Guild: guild},
		fmt.Appendf(nil, `{"kind":"guild","payload":{"i":%d}}`, i))
	p.mu.Lock()
	defer p.mu.Unlock()
	if err != nil {
		p.failures++
		p.err = err
	} else if guild == failoverGuild {
		p.accepted = append(p.accepted, at)
	}
}

func (p *durablePublisher) run(ctx context.Context) {
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for i := 1; ctx.Err() == nil; i++ {
		p.publish(ctx, failoverGuild, i)
		<-tick.C
	}
}

func (p *durablePublisher) count() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.accepted)
}

func historyKey(guild string) string { return "guildcast:history:{" + guild + "}" }

// readHistory returns the positions of a guild's events, and their numbers.
func readHistory(t *testing.T, client goredis.UniversalClient, guild string) (all []history.Position, numbers []int) {
	t.Helper()
	reader, at := history.NewReader(client, history.ReaderOptions{}), history.Position{}
	for more := true; more; {
		page, err := reader.After(t.Context(), guild, at, 1000)
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range page.Entries {
			var m struct{ Payload struct{ I int } }
			if err := json.Unmarshal(e.Message, &m); err != nil {
				t.Fatal(err)
			}
			at = e.Position
			all, numbers = append(all, at), append(numbers, m.Payload.I)
		}
		more = page.More
	}
	return all, numbers
}

// resumer is a client that spectates a guild from its last position. One that blinks goes and comes back all the time.
type resumer struct {
	addr, guild, token string
	blinks             bool

	mu       sync.Mutex
	start    history.Position
	position history.Position
	got      []history.Position
	notices  []string // resync, and what was not recovered
	trouble  []string
}

func newResumer(t *testing.T, n *node, guild string, blinks bool) *resumer {
	return &resumer{
		addr: strings.TrimPrefix(n.url, "http://"), guild: guild, blinks: blinks,
		token: mint(t, jwt.MapClaims{"guilds": guilds{guild: 0}}),
	}
}

func (r *resumer) at() history.Position {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.position
}

func (r *resumer) told() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.notices) > 0
}

// run visits the node until ctx ends.
func (r *resumer) run(ctx context.Context) {
	for ctx.Err() == nil {
		r.visit(ctx)
		select {
		case <-time.After(300 * time.Millisecond):
		case <-ctx.Done():
		}
	}
}

func (r *resumer) visit(ctx context.Context) {
	elevated, again := make(chan struct{}, 1), make(chan struct{}, 1)
	c, err := sioclient.Dial(r.addr, sioclient.Options{
		Auth: fmt.Sprintf(`{"token":%q}`, r.token),
		OnEvent: func(p []byte) {
			var args []json.RawMessage
			if json.Unmarshal(p, &args) != nil || len(args) < 2 {
				return
			}
			switch name := string(args[0]); name {
			case `"request_elevation_return"`:
				notify(elevated)
			case `"spectate_return"`:
				r.returned(args[1])
			case `"resync"`:
				r.note(&r.notices, "resync %s", args[1])
			case `"error"`: // Redis is away
				notify(again)
			case `"log_pool"`:
				r.hear(args)
			default:
				r.note(&r.trouble, "%s", p)
			}
		}})
	if err != nil {
		return
	}
	defer c.Close()
	var leave <-chan time.Time
	if r.blinks {
		leave = time.After(2 * time.Second)
	}
	retry := time.NewTimer(time.Hour)
	defer retry.Stop()
	for {
		select {
		case <-elevated:
			r.spectate(c)
		case <-again:
			retry.Reset(100 * time.Millisecond)
		case <-retry.C:
			r.spectate(c)
		case <-leave:
			return
		case <-c.Done():
			return
		case <-ctx.Done():
			return
		}
	}
}

func (r *resumer) spectate(c *sioclient.Conn) {
	payload := map[string]any{"guild_id": r.guild, "positions": true, "token": r.token}
	if at := r.at(); !at.IsZero() {
		payload["since"] = at.String()
	}
	_ = c.Send("42" + mustJSON([]any{"spectate", payload}))
}

func (r *resumer) returned(body json.RawMessage) {
	var a returned
	if err := decodeEither(body, &a); err != nil || !a.Success || a.Position == nil {
		r.note(&r.trouble, "the answer is %s", body)
		return
	}
	at, err := history.ParsePosition(*a.Position)
	if err != nil {
		r.note(&r.trouble, "%v", err)
	}
	r.mu.Lock()
	first := r.position.IsZero()
	if first {
		r.start, r.position = at, at
	}
	r.mu.Unlock()
	if !first && !*a.Recovered {
		r.note(&r.notices, "not recovered: %s", body)
		r.mu.Lock()
		r.position = at
		r.mu.Unlock()
	}
}

func (r *resumer) hear(args []json.RawMessage) {
	var text string
	if len(args) != 3 || json.Unmarshal(args[2], &text) != nil {
		r.note(&r.trouble, "no position: %s", args)
		return
	}
	at, err := history.ParsePosition(text)
	r.mu.Lock()
	defer r.mu.Unlock()
	if err != nil || at.Compare(r.position) <= 0 {
		r.trouble = append(r.trouble, fmt.Sprintf("%s after %s, %v", text, r.position, err))
	}
	r.position = at
	r.got = append(r.got, at)
}

func (r *resumer) note(list *[]string, format string, args ...any) {
	r.mu.Lock()
	defer r.mu.Unlock()
	*list = append(*list, time.Now().Format("15:04:05.000 ")+fmt.Sprintf(format, args...))
}

// unknown counts the events that came and are not in the history.
func (r *resumer) unknown(reference []history.Position) (n int) {
	for _, at := range r.got {
		if !slices.Contains(reference, at) {
			n++
		}
	}
	return n
}

// judge compares what came with the history. Where some of it was lost, the client must have been told.
func (r *resumer) judge(reference []history.Position, lost bool) error {
	switch {
	case len(r.trouble) > 0:
		return fmt.Errorf("%q", r.trouble)
	case lost && len(r.notices) == 0:
		return fmt.Errorf("not told of the loss")
	case lost:
		return nil
	case len(r.notices) > 0:
		return fmt.Errorf("told of a loss, and nothing was lost: %q", r.notices)
	}
	want := reference
	for len(want) > 0 && want[0].Compare(r.start) <= 0 {
		want = want[1:]
	}
	if !slices.Equal(r.got, want) {
		return fmt.Errorf("got %d events, want %d", len(r.got), len(want))
	}
	return nil
}

// judgeOvertaken compares what came to a client that was told of messages which others have overtaken: all else came.
func (r *resumer) judgeOvertaken(reference []history.Position) error {
	for _, n := range r.notices {
		if !strings.Contains(n, "message_lost") {
			return fmt.Errorf("told of a loss, and nothing was lost: %q", r.notices)
		}
	}
	missing := 0
	for _, at := range reference {
		if at.Compare(r.start) > 0 && !slices.Contains(r.got, at) {
			missing++
		}
	}
	if len(r.trouble) > 0 || r.unknown(reference) > 0 || missing > 10*len(r.notices) {
		return fmt.Errorf("%d events are missing after %q: %q", missing, r.notices, r.trouble)
	}
	return nil
}

func notify(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

func keepWithSentinel(t *testing.T) *keeper {
	primary := redistest.Start(t)
	k := &keeper{primary: primary, replica: redistest.StartReplica(t, primary)}
	sentinels := redistest.StartSentinels(t, primary, 3, 1)
	var addrs []string
	for _, s := range sentinels {
		addrs = append(addrs, s.Addr())
	}
	k.url = "redis+sentinel://" + strings.Join(addrs, ",") + "/main"
	conn, err := redisurl.Connect(k.url)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	k.client = func() goredis.UniversalClient {
		conn.Renew(time.Now()) // so that it asks the Sentinels again
		return conn.Client
	}
	k.manual = func(t *testing.T) {
		c := goredis.NewSentinelClient(&goredis.Options{Addr: sentinels[0].Addr()})
		defer c.Close()
		if err := c.Failover(t.Context(), "main").Err(); err != nil {
			t.Fatal(err)
		}
	}
	return k
}

func keepInCluster(t *testing.T) *keeper {
	c := redistest.StartReplicatedCluster(t)
	client := c.Client()
	k := &keeper{url: c.URL(), cluster: c, client: func() goredis.UniversalClient { return client }}
	owner, err := client.MasterForKey(t.Context(), historyKey(failoverGuild))
	if err != nil {
		t.Fatal(err)
	}
	i := slices.Index(c.Addrs(), owner.Options().Addr)
	k.primary, k.replica = c.Servers[i], c.Replicas[i]
	k.manual = func(*testing.T) { c.Failover(i) }
	return k
}
