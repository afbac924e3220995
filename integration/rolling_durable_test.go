//go:build integration

package integration

import (
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"github.com/architus/guildcast/event"
	"github.com/architus/guildcast/history"
	"github.com/architus/guildcast/internal/test/redistest"
	"github.com/architus/guildcast/internal/test/sioclient"
	"github.com/architus/guildcast/internal/test/wait"
)

// TestRollingRestartDurable restarts three nodes behind a round-robin balancer, one after the other, while 50 durable
// events a second reach their spectators. Each client gets each event of its guild once and in order. With
// GUILDCAST_STRICT_TIMES=1 (make chaos) there are 3,000 clients, all have to be back 5 s after a node's grace, and no
// more than a third of them may be without their events in the same second.
func TestRollingRestartDurable(t *testing.T) {
	beside(t)
	path, clients, grace := binary, 150, 2*time.Second
	if strict {
		var err error
		if path, err = release(); err != nil {
			t.Fatal(err)
		}
		clients, grace = 3000, 10*time.Second
	}
	server, balancer := redistest.Start(t), startRoundRobin(t)
	begin := func(i int) *node {
		return startNodeOf(t, path, fmt.Sprint("node ", i), server.URL(), "GUILDCAST_GRACE="+grace.String(),
			"GUILDCAST_DRAIN_DELAY="+drainDelay.String())
	}
	var nodes []*node
	for i := range 3 {
		nodes = append(nodes, begin(i))
		balancer.add(nodes[i])
	}
	f := startFleet(t, strings.TrimPrefix(balancer.URL, "http://"), clients)
	wait.Until(t, "all clients to spectate", func() bool { return f.away.Load() == 0 })
	f.publish(t, history.NewPublisher(server.Client(), history.PublisherOptions{}))
	for i, n := range nodes {
		signaled := time.Now()
		if err := n.cmd.Process.Signal(syscall.SIGTERM); err != nil {
			t.Fatal(err)
		}
		n.waitStatus(t, "/readyz", http.StatusServiceUnavailable)
		balancer.remove(n)
		if code := n.wait(t); code != 0 {
			t.Errorf("%s: exit code %d, want 0", n.name, code)
		}
		wait.Until(t, "all clients to be back", func() bool { return f.away.Load() == 0 })
		took := f.lastBack().Sub(signaled) - drainDelay
		t.Logf("%s: all clients are back %v after the grace of %v began", n.name, took.Round(10*time.Millisecond),
			grace)
		if !onTime(took, grace+5*time.Second) {
			t.Errorf("%s: all clients are back after %v", n.name, took)
		}
		nodes[i] = begin(i + 10)
		balancer.add(nodes[i])
	}
	f.judge(t)
}

// drainDelay is how long the nodes serve on before they drain: the balancer learns of it meanwhile.
const drainDelay = time.Second

// fleet is a number of clients, each of which spectates a guild, comes back when it is cut, and goes on where it was.
type fleet struct {
	addr  string
	ctx   context.Context
	crew  []*sailor
	away  atomic.Int32 // clients that spectate nothing now
	sails sync.WaitGroup

	stopPublishing func() (published int)
}

// fleetGuilds is the number of guilds to which a fleet's events go in turn.
const fleetGuilds = 10

// sailor is one client of a fleet.
type sailor struct {
	fleet  *fleet
	number int
	token  string

	mu       sync.Mutex
	position string // from which it goes on
	next     int    // the number of the event that is to come
	trouble  string // the first
	absences []absence
}

// absence is a time from the end of a connection until the client spectates again.
type absence struct{ from, to time.Time }

func startFleet(t *testing.T, addr string, clients int) *fleet {
	ctx, stop := context.WithCancel(t.Context())
	f := &fleet{addr: addr, ctx: ctx}
	f.away.Store(int32(clients))
	for i := range clients {
		s := &sailor{fleet: f, number: i, next: i % fleetGuilds}
		s.token = mint(t, jwt.MapClaims{"sub": fmt.Sprint(3_000_000 + i), "guilds": guilds{s.guild(): 0}})
		f.crew = append(f.crew, s)
		f.sails.Go(s.sail)
	}
	t.Cleanup(func() { stop(); f.sails.Wait() })
	return f
}

func fleetGuild(i int) string { return fmt.Sprint(5_000_000_000_000_000_000 + i%fleetGuilds) }

func (s *sailor) guild() string { return fleetGuild(s.number) }

// sail connects again and again until the fleet ends, with the pauses of socket.io-client.
func (s *sailor) sail() {
	cut, failures := time.Now().Add(-time.Hour), 0 // so that the first connection is no absence that counts
	for s.fleet.ctx.Err() == nil {
		pause := min(time.Second<<min(failures, 3), 5*time.Second)
		select {
		case <-time.After(time.Duration((0.5 + rand.Float64()) * float64(pause))):
		case <-s.fleet.ctx.Done():
			return
		}
		back := make(chan struct{})
		failures++
		conn, err := sioclient.Dial(s.fleet.addr, sioclient.Options{
			Auth: mustJSON(map[string]string{"token": s.token}), OnEvent: func(p []byte) { s.hear(p, back) },
		})
		if err != nil {
			continue
		}
		if s.spectate(conn, back) {
			failures = 0
			s.mu.Lock()
			s.absences = append(s.absences, absence{cut, time.Now()})
			s.mu.Unlock()
			s.fleet.away.Add(-1)
			select {
			case <-conn.Done():
			case <-s.fleet.ctx.Done():
			}
			cut = time.Now()
			s.fleet.away.Add(1)
		}
		conn.Close()
	}
}

// spectate reports whether the client spectates now.
func (s *sailor) spectate(conn *sioclient.Conn, back <-chan struct{}) bool {
	payload := map[string]any{"guild_id": s.guild(), "positions": true, "token": s.token}
	s.mu.Lock()
	if s.position != "" {
		payload["since"] = s.position
	}
	s.mu.Unlock()
	if err := conn.Send("42" + mustJSON([]any{"spectate", payload})); err != nil {
		return false
	}
	select {
	case <-back:
		return true
	case <-conn.Done():
	case <-s.fleet.ctx.Done():
	}
	return false
}

// hear takes an event; it closes back at the answer to spectate.
func (s *sailor) hear(p []byte, back chan<- struct{}) {
	var args []json.RawMessage
	var name string
	if json.Unmarshal(p, &args) != nil || len(args) < 2 || json.Unmarshal(args[0], &name) != nil {
		s.complain("strange event %s", p)
		return
	}
	switch name {
	case "log_pool":
		s.take(args[1:])
	case "spectate_return":
		if s.answered(args[1]) {
			close(back)
		}
	case "request_elevation_return":
	default:
		s.complain("got %s", p)
	}
}

func (s *sailor) take(args []json.RawMessage) {
	var e struct{ I int }
	if len(args) != 2 || json.Unmarshal(args[0], &e) != nil {
		s.complain("an event without number or position: %s", args)
		return
	}
	s.mu.Lock()
	next := s.next
	s.next = e.I + fleetGuilds
	_ = json.Unmarshal(args[1], &s.position) // the next spectate shows whether it is one
	s.mu.Unlock()
	if e.I != next {
		s.complain("got event %d, want %d", e.I, next)
	}
}

func (s *sailor) answered(body json.RawMessage) bool {
	var r returned
	if err := json.Unmarshal(body, &r); err != nil || !r.Success || r.Position == nil {
		s.complain("the answer is %s", body)
		return false
	}
	s.mu.Lock()
	first := s.position == ""
	if first {
		s.position = *r.Position
	}
	s.mu.Unlock()
	if !first && (r.Recovered == nil || !*r.Recovered) {
		s.complain("the answer is %s", body)
	}
	return true
}

func (s *sailor) complain(format string, args ...any) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.trouble == "" {
		s.trouble = fmt.Sprintf("client %d: ", s.number) + fmt.Sprintf(format, args...)
	}
}

// publish publishes numbered events of the guilds in turn, 50 a second, until judge.
func (f *fleet) publish(t *testing.T, p *history.Publisher) {
	ctx, stop := context.WithCancel(t.Context())
	published := make(chan int, 1)
	go func() {
		tick := time.NewTicker(20 * time.Millisecond)
		defer tick.Stop()
		i := 0
		defer func() { published <- i }()
		for ctx.Err() == nil {
			message := fmt.Appendf(nil, `{"kind":"guild","payload":{"i":%d}}`, i)
			if _, err := p.Publish(t.Context(), event.Topic{Guild: fleetGuild(i)}, message); err != nil {
				t.Error(err)
				return
			}
			i++
			select {
			case <-tick.C:
			case <-ctx.Done():
			}
		}
	}()
	f.stopPublishing = sync.OnceValue(func() int { stop(); return <-published })
	t.Cleanup(func() { f.stopPublishing() })
}

// lastBack returns when the last client came back.
func (f *fleet) lastBack() (last time.Time) {
	for _, s := range f.crew {
		s.mu.Lock()
		if n := len(s.absences); n > 0 && s.absences[n-1].to.After(last) {
			last = s.absences[n-1].to
		}
		s.mu.Unlock()
	}
	return last
}

// judge ends the publishing, and fails the test if a client has missed or doubled an event, or if too many were away
// in the same second.
func (f *fleet) judge(t *testing.T) {
	t.Helper()
	published := f.stopPublishing()
	wait.Until(t, "the last events to come", func() bool {
		for _, s := range f.crew {
			s.mu.Lock()
			behind := s.trouble == "" && s.next < published
			s.mu.Unlock()
			if behind {
				return false
			}
		}
		return true
	})
	failed, absences := 0, []absence(nil)
	for _, s := range f.crew {
		s.mu.Lock()
		absences = append(absences, s.absences[1:]...)
		trouble := s.trouble
		s.mu.Unlock()
		if trouble != "" {
			if failed++; failed <= 10 {
				t.Error(trouble)
			}
		}
	}
	most, longest := busiestSecond(absences)
	t.Logf("%d clients, %d events: %d were cut, the longest absence is %v, in one second %d were away", len(f.crew),
		published, len(absences), longest.Round(10*time.Millisecond), most)
	if len(absences) < len(f.crew) {
		t.Errorf("%d clients were cut %d times by restarts of all nodes", len(f.crew), len(absences))
	}
	if failed > 10 {
		t.Errorf("%d clients had trouble", failed)
	}
	if strict && most > len(f.crew)/3 {
		t.Errorf("in one second %d of %d clients were away", most, len(f.crew))
	}
}

// busiestSecond returns how many absences there were in the second that touches the most, and the longest.
func busiestSecond(absences []absence) (most int, longest time.Duration) {
	for _, a := range absences {
		longest = max(longest, a.to.Sub(a.from))
		// A busiest second is one that ends when an absence begins.
		n := 0
		for _, b := range absences {
			if !b.from.After(a.from) && b.to.After(a.from.Add(-time.Second)) {
				n++
			}
		}
		most = max(most, n)
	}
	return most, longest
}
