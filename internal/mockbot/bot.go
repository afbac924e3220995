// Package mockbot interprets what a visitor types into a mock Discord chat, as the bot in a guild of its own would:
// commands, polls with live votes, and auto responses.
package mockbot

import (
	"container/list"
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"sync"
	"time"
)

// Config bounds a Bot and gives it its surroundings; the zero value works.
type Config struct {
	// MaxGuilds is how many mock guilds are remembered; default 10,000. Above it the one that was used longest ago is
	// forgotten.
	MaxGuilds int
	// MaxBytes is about how much memory all guilds take together; default 64 MiB. Above it, as above MaxGuilds.
	MaxBytes int
	// MaxIdle is how long a guild is remembered without being used; default 24 h.
	MaxIdle time.Duration
	// MaxResponses is how many auto responses a guild has; default 100. One more is refused.
	MaxResponses int
	// MaxEvents is how many polls and schedules of a guild are live; default
	// 50. With one more the oldest stops to count votes.
	MaxEvents int

	// AuthorName is what the visitor is called; default "you".
	AuthorName string
	// BotName is what the bot is called, which is the guild's other member; default "architus".
	BotName string
	// Location is the time zone of `!schedule`; default UTC.
	Location *time.Location

	// Now and IntN (a random number below n) are for tests; defaults time.Now and math/rand/v2.
	Now  func() time.Time
	IntN func(n int) int
}

func (c Config) withDefaults() Config {
	setDefault(&c.MaxGuilds, 10_000)
	setDefault(&c.MaxBytes, 64<<20)
	setDefault(&c.MaxIdle, 24*time.Hour)
	setDefault(&c.MaxResponses, 100)
	setDefault(&c.MaxEvents, 50)
	setDefault(&c.AuthorName, "you")
	setDefault(&c.BotName, "architus")
	setDefault(&c.Location, time.UTC)
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.IntN == nil {
		c.IntN = rand.IntN
	}
	return c
}

func setDefault[T comparable](p *T, value T) {
	var zero T
	if *p == zero {
		*p = value
	}
}

// Bot is the interpreter with its mock guilds. It starts no goroutine and does no I/O. All methods may be called
// concurrently; requests for one guild are interpreted one after the other.
type Bot struct {
	cfg Config // static after construction

	// Guarded by mu, which is never held while a guild's own lock is taken.
	mu     sync.Mutex
	guilds map[int64]*list.Element // of *guild
	recent *list.List              // of *guild, the latest used in front
	bytes  int                     // sum of the guilds' sizes
}

// New makes a bot that remembers nothing yet.
func New(cfg Config) *Bot {
	return &Bot{cfg: cfg.withDefaults(), guilds: make(map[int64]*list.Element), recent: list.New()}
}

// InterpretJSON is Interpret with Decode before it and the response encoded.
func (b *Bot) InterpretJSON(ctx context.Context, payload []byte) ([]byte, error) {
	req, err := Decode(payload)
	if err != nil {
		return nil, err
	}
	resp, err := b.Interpret(ctx, req)
	if err != nil {
		return nil, err
	}
	out, err := json.Marshal(resp)
	if err != nil {
		return nil, fmt.Errorf("encode interpret response: %w", err)
	}
	return out, nil
}

// Interpret does what req says and answers with what the bot did. Its errors are of type *Error for an invalid request,
// or those of ctx.
func (b *Bot) Interpret(ctx context.Context, req Request) (Response, error) {
	if err := req.validate(); err != nil {
		return Response{}, err
	}
	g := b.guild(req.GuildID)
	turn := turn{cfg: &b.cfg, guild: g, req: &req}

	g.mu.Lock()
	err := turn.run(ctx)
	size := g.size()
	g.mu.Unlock()

	b.account(g, size)
	if err != nil {
		return Response{}, err
	}
	resp := Response{GuildID: req.GuildID, Actions: turn.actions}
	if req.Silent || resp.Actions == nil {
		resp.Actions = []Action{}
	}
	return resp, nil
}

// guild finds or makes one, and forgets what is over the bounds.
func (b *Bot) guild(id int64) *guild {
	now := b.cfg.Now()
	b.mu.Lock()
	defer b.mu.Unlock()
	for e := b.recent.Back(); e != nil && now.Sub(e.Value.(*guild).used) > b.cfg.MaxIdle; e = b.recent.Back() {
		b.forgetLocked(e)
	}
	if e := b.guilds[id]; e != nil {
		g := e.Value.(*guild)
		g.used = now
		b.recent.MoveToFront(e)
		return g
	}
	if b.recent.Len() >= b.cfg.MaxGuilds {
		b.forgetLocked(b.recent.Back())
	}
	g := newGuild(id)
	g.used = now
	g.accounted = guildBytes
	b.bytes += g.accounted
	b.guilds[id] = b.recent.PushFront(g)
	return g
}

// account notes a guild's new size. A guild that was forgotten meanwhile has none: its last request still got an
// answer.
func (b *Bot) account(g *guild, size int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if e := b.guilds[g.id]; e == nil || e.Value != g {
		return
	}
	b.bytes += size - g.accounted
	g.accounted = size
	for b.bytes > b.cfg.MaxBytes && b.recent.Len() > 1 {
		b.forgetLocked(b.recent.Back())
	}
}

func (b *Bot) forgetLocked(e *list.Element) {
	g := b.recent.Remove(e).(*guild)
	delete(b.guilds, g.id)
	b.bytes -= g.accounted
}
