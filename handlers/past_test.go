package handlers

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/architus/guildcast/event"
	"github.com/architus/guildcast/history"
)

// archive is the histories of guilds in memory: redis.Topics and history.Reader in one.
type archive struct {
	pause time.Duration // a reading takes

	mu      sync.Mutex
	last    history.Position
	entries map[string][]history.Entry
	trimmed map[string]history.Position // the latest entry that was trimmed
	reads   int
	err     error
}

func newArchive() *archive {
	return &archive{entries: map[string][]history.Entry{}, trimmed: map[string]history.Position{}}
}

// add keeps a message and returns its position.
func (a *archive) add(t event.Topic, message []byte) history.Position {
	a.mu.Lock()
	defer a.mu.Unlock()
	if now := uint64(time.Now().UnixMilli()); now > a.last.Time {
		a.last = history.Position{Time: now}
	} else {
		a.last.Seq++
	}
	a.entries[t.Guild] = append(a.entries[t.Guild], history.Entry{Position: a.last, Topic: t, Message: message})
	return a.last
}

// trim keeps the latest n entries of a guild.
func (a *archive) trim(guild string, n int) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if list := a.entries[guild]; len(list) > n {
		a.trimmed[guild] = list[len(list)-n-1].Position
		a.entries[guild] = list[len(list)-n:]
	}
}

func (a *archive) After(ctx context.Context, guild string, p history.Position, limit int) (history.Page, error) {
	if a.pause > 0 {
		time.Sleep(a.pause)
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	a.reads++
	list := a.entries[guild]
	i, found := slices.BinarySearchFunc(list, p, func(e history.Entry, p history.Position) int {
		return e.Position.Compare(p)
	})
	page := history.Page{Whole: found || p == a.trimmed[guild]}
	if found {
		i++
	}
	page.Entries = list[i:min(i+limit, len(list)):len(list)]
	page.More = i+limit < len(list)
	return page, a.err
}

func (a *archive) Last(_ context.Context, guilds []string) (last []history.Last, err error) {
	for _, guild := range guilds {
		p, _ := a.Position(guild)
		last = append(last, history.Last{Position: p, Err: a.err})
	}
	return last, a.err
}

// Position is that of the history, as of a node that has just acquired the topic.
func (a *archive) Position(guild string) (history.Position, bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if list := a.entries[guild]; len(list) > 0 {
		return list[len(list)-1].Position, a.err == nil
	}
	return history.Position{}, a.err == nil
}

func (a *archive) of(guild string) []history.Entry {
	a.mu.Lock()
	defer a.mu.Unlock()
	return slices.Clone(a.entries[guild])
}

// remember gives the gateway a history.
func (b *bench) remember() *archive {
	a := newArchive()
	b.g.history, b.streams.position = a, a.Position
	return a
}

// durable publishes an event durably, and delivers it.
func (b *bench) durable(a *archive, t event.Topic, message string) history.Position {
	p := a.add(t, []byte(message))
	b.g.Message(t, p, []byte(message))
	return p
}

func member(seq int) string { return fmt.Sprintf(`{"kind":"member","payload":{"seq":%d}}`, seq) }
