// Package mockbot interprets what a visitor types into a mock Discord chat, as the bot in a guild of its own would:
// commands, polls with live votes, and auto responses.
package mockbot

import (
	"cmp"
	"container/list"
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
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
	// StepsPerSecond is how much work all messages together may be; default 10,000,000 steps, a fifth of a core. See
	// budget. One message may be a twentieth of it. What is more is refused with 429.
	StepsPerSecond int

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

// DefaultConfig returns the defaults of what an operator may have to change.
func DefaultConfig() Config { return Config{MaxBytes: 64 << 20, StepsPerSecond: 10_000_000} }

func (c Config) withDefaults() Config {
	d := DefaultConfig()
	c.MaxGuilds = cmp.Or(c.MaxGuilds, 10_000)
	c.MaxBytes = cmp.Or(c.MaxBytes, d.MaxBytes)
	c.MaxIdle = cmp.Or(c.MaxIdle, 24*time.Hour)
	c.MaxResponses = cmp.Or(c.MaxResponses, 100)
	c.MaxEvents = cmp.Or(c.MaxEvents, 50)
	c.StepsPerSecond = cmp.Or(c.StepsPerSecond, d.StepsPerSecond)
	c.AuthorName = cmp.Or(c.AuthorName, "you")
	c.BotName = cmp.Or(c.BotName, "architus")
	c.Location = cmp.Or(c.Location, time.UTC)
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.IntN == nil {
		c.IntN = rand.IntN
	}
	return c
}

// Bot is the interpreter with its mock guilds. It starts no goroutine and does no I/O. All methods may be called
// concurrently; one message is interpreted at a time, and all together have a budget.
type Bot struct {
	cfg Config // static after construction

	turn chan struct{} // holds a value while nobody interprets

	// Owned by the holder of the turn.
	guilds map[int64]*list.Element // of *guild
	recent *list.List              // of *guild, the latest used in front
	bytes  int                     // sum of the guilds' sizes
	budget budget
}

// New returns a Bot that remembers nothing yet.
func New(cfg Config) *Bot {
	cfg = cfg.withDefaults()
	b := &Bot{
		cfg: cfg, turn: make(chan struct{}, 1),
		guilds: make(map[int64]*list.Element), recent: list.New(), budget: newBudget(cfg.StepsPerSecond),
	}
	b.turn <- struct{}{}
	return b
}

// InterpretJSON is Interpret with Decode before it and the response encoded.
func (b *Bot) InterpretJSON(ctx context.Context, payload []byte) (out []byte, err error) {
	err = b.paid(ctx, func(m *meter) error {
		if len(payload) <= maxRequestBytes && !m.spend(byteSteps*len(payload)) {
			return m.refused
		}
		req, err := Decode(payload)
		if err != nil {
			return err
		}
		resp, err := b.interpret(ctx, req, m)
		if err != nil {
			return err
		}
		if out, err = json.Marshal(resp); err != nil {
			return fmt.Errorf("encode interpret response: %w", err)
		}
		return nil
	})
	return out, err
}

// Interpret carries out req and returns what the bot did. Its errors are of type *Error for a request that is invalid
// (400, 413) or more work than the bot has time for (429), or those of ctx.
func (b *Bot) Interpret(ctx context.Context, req Request) (resp Response, err error) {
	if err := req.validate(); err != nil {
		return Response{}, err
	}
	err = b.paid(ctx, func(m *meter) error {
		resp, err = b.interpret(ctx, req, m)
		return err
	})
	return resp, err
}

// paid waits for the turn, and takes what work spends from the budget. The wait is short: those before it are paid for.
func (b *Bot) paid(ctx context.Context, work func(*meter) error) error {
	select {
	case <-b.turn:
	case <-ctx.Done():
		return ctx.Err()
	}
	defer func() { b.turn <- struct{}{} }()
	var m meter
	m.allowance, m.most = b.budget.allowance(b.cfg.Now())
	defer func() { b.budget.left -= m.spent }()
	if !m.spend(messageSteps) {
		return m.refused
	}
	return work(&m)
}

// interpret is Interpret of a valid request, for the holder of the turn.
func (b *Bot) interpret(ctx context.Context, req Request, m *meter) (Response, error) {
	g := b.guild(req.GuildID)
	turn := turn{cfg: &b.cfg, guild: g, req: &req, meter: m}
	err := turn.run(ctx)
	b.account(g)
	if err != nil {
		return Response{}, err
	}
	resp := Response{GuildID: req.GuildID, Actions: turn.actions}
	if req.Silent || resp.Actions == nil {
		resp.Actions = []Action{}
	}
	return resp, nil
}

// guild returns the guild with an id, or a new one, and forgets guilds beyond the bounds.
func (b *Bot) guild(id int64) *guild {
	now := b.cfg.Now()
	for e := b.recent.Back(); e != nil && now.Sub(e.Value.(*guild).used) > b.cfg.MaxIdle; e = b.recent.Back() {
		b.forget(e)
	}
	if e := b.guilds[id]; e != nil {
		g := e.Value.(*guild)
		g.used = now
		b.recent.MoveToFront(e)
		return g
	}
	if b.recent.Len() >= b.cfg.MaxGuilds {
		b.forget(b.recent.Back())
	}
	g := newGuild(id)
	g.used = now
	g.accounted = guildBytes
	b.bytes += g.accounted
	b.guilds[id] = b.recent.PushFront(g)
	return g
}

// account records a guild's new size.
func (b *Bot) account(g *guild) {
	size := g.size()
	b.bytes += size - g.accounted
	g.accounted = size
	for b.bytes > b.cfg.MaxBytes && b.recent.Len() > 1 {
		b.forget(b.recent.Back())
	}
}

func (b *Bot) forget(e *list.Element) {
	g := b.recent.Remove(e).(*guild)
	delete(b.guilds, g.id)
	b.bytes -= g.accounted
}
