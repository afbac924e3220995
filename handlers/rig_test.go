package handlers

import (
	"context"
	"encoding/json"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	eio "github.com/zishang520/engine.io/v2/engine"
	"github.com/zishang520/socket.io/v2/socket"

	"github.com/architus/guildcast/engine"
	"github.com/architus/guildcast/event"
	"github.com/architus/guildcast/history"
	"github.com/architus/guildcast/internal/test/lifecycle"
	"github.com/architus/guildcast/permissions"
	"github.com/architus/guildcast/token"
)

// bench is a gateway without a server: its sockets are stand-ins, and what would go to clients is kept.
type bench struct {
	t       testing.TB
	g       *Gateway
	tokens  *tokens
	revoked *permissions.Revocations
	streams *feeds
	hook    func(conn any, args []byte, made time.Time) // gets what would be kept; nil keeps
	sheds   func(conn *engine.Conn, args []byte) bool   // whether a guild event is left out; nil: none is
	resumes func(conn *engine.Conn) bool                // nil: at once
	full    <-chan struct{}                             // closed when clients read; nil: they do
	lags    func(args []byte) lag                       // whom a guild event's delivery should wait for; nil: nobody
	pace    time.Duration                               // between the decision who gets a guild event and its delivery

	mu       sync.Mutex
	messages map[*engine.Message]message
	got      map[*engine.Conn][]string // events, as the JSON of their arguments
	rooms    map[string]bool
}

type message struct {
	args []byte
	at   time.Time
}

func newBench(t testing.TB, config Config) *bench {
	b := &bench{
		t: t, tokens: &tokens{}, revoked: &permissions.Revocations{}, streams: &feeds{},
		messages: map[*engine.Message]message{}, got: map[*engine.Conn][]string{}, rooms: map[string]bool{},
	}
	b.tokens.revoked = b.revoked
	g, err := newGateway(Parts{
		Verifier: b.tokens, Revocations: b.revoked, Topics: b.streams,
		Filter: newFilter(),
	}, config)
	if err != nil {
		t.Fatal(err)
	}
	g.outlet = b
	b.g = g
	lifecycle.Start(t, g.Run)
	return b
}

func (b *bench) encode(args []byte) *engine.Message {
	m := new(engine.Message)
	b.mu.Lock()
	b.messages[m] = message{args, time.Now()}
	b.mu.Unlock()
	if strings.HasPrefix(string(args), `["log_`) {
		time.Sleep(b.pace)
	}
	return m
}

func (b *bench) resume(c *engine.Conn) bool { return b.resumes == nil || b.resumes(c) }

func (b *bench) deliverAll(c *engine.Conn, messages []*engine.Message) {
	for _, m := range messages {
		b.deliver(m, []*engine.Conn{c}, engine.DeliverOptions{})
	}
}

func (b *bench) flush(*engine.Conn) {}

func (b *bench) queued(*engine.Conn) int {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.full != nil {
		return math.MaxInt
	}
	return 0
}

func (b *bench) room(ctx context.Context, _ *engine.Conn, _ int) error {
	b.mu.Lock()
	full := b.full
	b.mu.Unlock()
	if full != nil {
		return await(ctx, full)
	}
	return ctx.Err()
}

func (b *bench) deliver(
	m *engine.Message, conns []*engine.Conn, o engine.DeliverOptions,
) (shed []*engine.Conn, _ lag) {
	loss := o.Loss
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, c := range conns {
		if loss != engine.Keep && b.sheds != nil && b.sheds(c, b.messages[m].args) {
			shed = append(shed, c)
			continue
		}
		if b.hook != nil {
			b.hook(c, b.messages[m].args, b.messages[m].at)
			continue
		}
		b.got[c] = append(b.got[c], string(b.messages[m].args))
	}
	if b.lags != nil && loss != engine.Keep {
		return shed, b.lags(b.messages[m].args)
	}
	return shed, nil
}

// socket is a stand-in for a connected one.
func (b *bench) socket(id string) *session {
	s := newSession(b.g, &standIn{b, id}, id, new(engine.Conn), "192.0.2.1")
	b.g.mu.Lock()
	b.g.sessions[s.conn()] = s
	b.g.mu.Unlock()
	return s
}

// take returns and removes what was sent to a socket.
func (b *bench) take(s *session) []string {
	b.mu.Lock()
	defer b.mu.Unlock()
	got := b.got[s.conn()]
	b.got[s.conn()] = nil
	return got
}

func (b *bench) in(room string) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.rooms[room]
}

type standIn struct {
	b  *bench
	id string
}

func (p *standIn) Join(rooms ...socket.Room) {
	p.b.mu.Lock()
	defer p.b.mu.Unlock()
	for _, r := range rooms {
		p.b.rooms[string(r)] = true
	}
}

func (p *standIn) Leave(r socket.Room) {
	p.b.mu.Lock()
	defer p.b.mu.Unlock()
	delete(p.b.rooms, string(r))
}

func (p *standIn) Disconnect(bool) *socket.Socket { return nil }
func (p *standIn) Conn() eio.Socket               { return nil }

// tokens verifies tokens that are claims written as JSON, after a word that keeps them from being taken for a payload.
type tokens struct{ revoked *permissions.Revocations }

func (v *tokens) Verify(_ context.Context, text string) (*permissions.Claims, error) {
	if text == "" {
		return nil, &token.Error{Word: token.Missing}
	}
	c, err := permissions.ParseClaims([]byte(strings.TrimPrefix(text, "token ")))
	switch {
	case err != nil:
		return nil, &token.Error{Word: token.Invalid, Err: err}
	case c.Expired(time.Now()):
		return nil, &token.Error{Word: token.Expired}
	case v.revoked.Revoked(c, time.Now()):
		return nil, &token.Error{Word: token.Revoked}
	}
	return c, nil
}

func (v *tokens) Revoked(*permissions.Claims, time.Time) bool { return false }

// feeds confirms subscriptions, once confirm has returned if it is set.
type feeds struct {
	mu      sync.Mutex
	confirm func(event.Topic)

	position func(guild string) (history.Position, bool) // nil: no guild has a history
	passed   func() (history.Position, bool)             // nil: nobody knows
}

func (x *feeds) Acquire(_ context.Context, t event.Topic) (func(), error) {
	x.mu.Lock()
	confirm := x.confirm
	x.mu.Unlock()
	if confirm != nil {
		confirm(t)
	}
	return func() {}, nil
}

func (x *feeds) Position(guild string) (history.Position, bool) {
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.position == nil {
		return history.Position{}, false
	}
	return x.position(guild)
}

func (x *feeds) Passed(context.Context, string) (history.Position, bool) {
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.passed == nil {
		return history.Position{}, false
	}
	return x.passed()
}

func (x *feeds) set(confirm func(event.Topic)) {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.confirm = confirm
}

// claims writes a token.
func claims(sub string, issued time.Time, lasts time.Duration, guilds string) string {
	return fmt.Sprintf(`token {"sub":%q,"iat":%d,"exp":%d,"jti":%q,"guilds":%s}`,
		sub, issued.Unix(), issued.Add(lasts).Unix(), sub+strconv.FormatInt(issued.Unix(), 10), guilds)
}

// send brings an event of the client.
func (s *session) send(event string, payload any) {
	// As it would come out of the engine's decoder.
	b, err := json.Marshal(payload)
	if err != nil {
		panic(err)
	}
	var v any
	if err := json.Unmarshal(b, &v); err != nil {
		panic(err)
	}
	s.onEvent(event, v)
}

type m = map[string]any

func newFilter() *permissions.Filter[*engine.Conn] {
	return permissions.NewFilter[*engine.Conn](permissions.DefaultPolicy())
}

// names returns the names of the events that were sent to a socket.
func names(got []string) (out []string) {
	for _, g := range got {
		out = append(out, strings.Split(g, `"`)[1])
	}
	return out
}

func wantNames(t *testing.T, got []string, want ...string) {
	t.Helper()
	if !slices.Equal(names(got), want) {
		t.Fatalf("got %q, want %q", got, want)
	}
}
