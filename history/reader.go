package history

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	goredis "github.com/redis/go-redis/v9"

	"github.com/architus/guildcast/event"
	"github.com/architus/guildcast/internal/botwire"
	"github.com/architus/guildcast/internal/defaults"
)

// ReaderOptions configure a Reader. The zero value works.
type ReaderOptions struct {
	// Timeout bounds each read. Default 5 s.
	Timeout time.Duration
}

// Reader reads the histories of guilds. All methods may be called concurrently. Their errors are ErrUnreadable,
// ErrUnavailable, or context.Canceled if the caller's context was canceled.
type Reader struct {
	client  goredis.UniversalClient
	timeout time.Duration
	reads   atomic.Uint64
}

// NewReader returns a reader that uses client. The caller closes client.
func NewReader(client goredis.UniversalClient, o ReaderOptions) *Reader {
	return &Reader{client: client, timeout: defaults.Positive(o.Timeout, 5*time.Second)}
}

// Reads returns the number of histories that After, Last and Marks have read.
func (r *Reader) Reads() uint64 { return r.reads.Load() }

// Entry is one entry of a history.
type Entry struct {
	Position Position
	Topic    event.Topic

	// Message is what was published: an event or a marker. It is nil if the entry is garbage, which has only a
	// position.
	Message []byte
}

// Page is a part of a history.
type Page struct {
	// Entries are those after the requested position, in order.
	Entries []Entry

	// Whole reports whether no entry is missing between the requested position and Entries. If it is false, Entries are
	// the oldest that are left. Even in a whole page, events may be missing at a marker.
	Whole bool

	// More reports whether further entries follow.
	More bool
}

// After returns at most limit entries of a guild after position p. It returns at least one if there is one, even if
// limit is less than 1.
//
// The page is whole if the history has the entry at p, if that was the last one to be trimmed, or if p is zero and
// nothing was ever trimmed. A history that is gone is whole from zero: it looks like one that never began.
func (r *Reader) After(ctx context.Context, guild string, p Position, limit int) (Page, error) {
	ctx, cancel := r.begin(ctx, 1)
	defer cancel()
	limit = max(limit, 1)
	key := botwire.HistoryKey(guild)
	// Two more: the entry at p itself, and one that shows that there is more.
	raw, err := r.client.XRangeN(ctx, key, p.String(), "+", int64(limit)+2).Result()
	if err != nil {
		return Page{}, because("read history", err)
	}
	entries := make([]Entry, len(raw))
	for i, m := range raw {
		if entries[i], err = parseEntry(guild, m); err != nil {
			return Page{}, because("read history", err)
		}
	}
	page := Page{Whole: len(entries) > 0 && entries[0].Position == p}
	if page.Whole {
		entries = entries[1:]
	} else {
		// Asked after the read: an entry trimmed in between can only make the answer false.
		yes, err := wholeScript.run(ctx, r.client, key, p.String()).Int()
		if err != nil {
			return Page{}, because("read history", err)
		}
		page.Whole = yes == 1
	}
	page.More = len(entries) > limit
	page.Entries = entries[:min(limit, len(entries))]
	return page, nil
}

// parseEntry parses an entry of a Redis stream.
func parseEntry(guild string, m goredis.XMessage) (Entry, error) {
	p, err := ParsePosition(m.ID)
	e := Entry{Position: p, Topic: event.Topic{Guild: guild}}
	message, ok := m.Values["m"].(string)
	topic, known := topicOf(guild, m.Values["t"])
	if ok && known && len(m.Values) == 2 {
		e.Topic, e.Message = topic, []byte(message)
	}
	return e, err
}

// topicOf returns the topic that field t of an entry names.
func topicOf(guild string, t any) (topic event.Topic, ok bool) {
	return event.Topic{Guild: guild, Logs: t == "logs"}, t == "pool" || t == "logs"
}

// Last is the end of a guild's history.
type Last struct {
	Position Position // of the last entry; zero if there is none
	Err      error    // ErrUnreadable or ErrUnavailable
}

// Last returns the ends of guilds' histories, in the order of guilds, after one round trip to Redis for all of them.
// Ask for some hundreds at a time. Each result has its own error. Last itself returns an error only if all of them have
// one.
func (r *Reader) Last(ctx context.Context, guilds []string) ([]Last, error) {
	ctx, cancel := r.begin(ctx, len(guilds))
	defer cancel()
	all := make([]int, len(guilds))
	for i := range all {
		all[i] = i
	}
	lasts := make([]Last, len(guilds))
	unknown := r.last(ctx, guilds, all, lasts, script.bySHA)
	r.last(ctx, guilds, unknown, lasts, script.byText)
	var errs int
	for _, last := range lasts {
		if last.Err != nil {
			errs++
		}
	}
	if errs > 0 && errs == len(lasts) {
		return lasts, lasts[0].Err
	}
	return lasts, nil
}

// last asks for the guilds at the given indices. It returns the indices of the guilds whose server does not know the
// script.
func (r *Reader) last(ctx context.Context, guilds []string, indices []int, lasts []Last,
	form func(script, context.Context, string, []any) *goredis.Cmd,
) (unknown []int) {
	if len(indices) == 0 {
		return nil
	}
	cmds := make([]*goredis.Cmd, len(indices))
	_, _ = r.client.Pipelined(ctx, func(p goredis.Pipeliner) error { // each command has its own error
		for i, index := range indices {
			cmds[i] = form(lastScript, ctx, botwire.HistoryKey(guilds[index]), nil)
			if err := p.Process(ctx, cmds[i]); err != nil {
				return err
			}
		}
		return nil
	})
	for i, index := range indices {
		id, err := cmds[i].Text()
		last := &lasts[index]
		switch {
		case goredis.HasErrorPrefix(err, "NOSCRIPT"):
			unknown = append(unknown, index)
		case errors.Is(err, goredis.Nil):
			*last = Last{}
		case err != nil:
			*last = Last{Err: because("read the end of a history", err)}
		default:
			last.Position, last.Err = ParsePosition(id)
		}
	}
	return unknown
}

// Mark is an entry without its message.
type Mark struct {
	Position Position
	Topic    event.Topic
	Event    bool // false if the entry is garbage, which has only a position
}

// Marks are a part of a history, without messages.
type Marks struct {
	// Marks are those after the requested position, in order.
	Marks []Mark

	Whole bool // as in Page
	More  bool // further entries follow

	// Last is the position of the history's last entry, even if Marks do not reach it. It is zero if there is none.
	Last Position
}

// Marks returns at most limit entries of a guild after position p, without their messages. It returns at least one if
// there is one, even if limit is less than 1.
func (r *Reader) Marks(ctx context.Context, guild string, p Position, limit int) (Marks, error) {
	ctx, cancel := r.begin(ctx, 1)
	defer cancel()
	limit = max(limit, 1)
	reply, err := marksScript.run(ctx, r.client, botwire.HistoryKey(guild), p.String(), limit+2).Slice()
	if err != nil {
		return Marks{}, because("read the places of a history", err)
	}
	m, err := parseMarks(guild, reply)
	if err != nil {
		return Marks{}, because("read the places of a history", err)
	}
	if len(m.Marks) > 0 && m.Marks[0].Position == p {
		m.Marks = m.Marks[1:]
	}
	m.More = len(m.Marks) > limit
	m.Marks = m.Marks[:min(limit, len(m.Marks))]
	return m, nil
}

func parseMarks(guild string, reply []any) (m Marks, err error) {
	if len(reply) < 2 || len(reply)%2 != 0 {
		return m, fmt.Errorf("the script returned %d values", len(reply))
	}
	position := func(v any) Position {
		id, _ := v.(string)
		p, failed := ParsePosition(id)
		err = errors.Join(err, failed)
		return p
	}
	m.Whole, m.Last = reply[0] == int64(1), position(reply[1])
	for i := 2; i < len(reply); i += 2 {
		topic, known := topicOf(guild, reply[i+1])
		m.Marks = append(m.Marks, Mark{Position: position(reply[i]), Topic: topic, Event: known})
	}
	return m, err
}

// begin counts reads and bounds their time.
func (r *Reader) begin(ctx context.Context, reads int) (context.Context, context.CancelFunc) {
	r.reads.Add(uint64(reads))
	return context.WithTimeout(ctx, r.timeout)
}
