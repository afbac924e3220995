package relay

import (
	"crypto/sha1" //nolint:gosec // tells messages apart, and nobody who could forge one gains by it
	"encoding/hex"
	"time"

	"github.com/architus/guildcast/event"
)

// item is a message that, as far as this relay knows, is not published durably yet.
type item struct {
	topic   event.Topic
	message []byte
	hash    string
	seq     uint64    // number among all messages of this relay
	at      time.Time // when it was heard
}

func hashOf(topic event.Topic, message []byte) string {
	h := sha1.New() //nolint:gosec // as above
	_, _ = h.Write([]byte(topic.Channel("")))
	_, _ = h.Write([]byte{' '})
	_, _ = h.Write(message)
	return hex.EncodeToString(h.Sum(nil)[:10])
}

// line is the unpublished messages of one guild, in order. It exists only while it holds something.
type line struct {
	items []item
	bytes int

	// lossy says that messages were dropped here that may not be published. Once a later message is published, they
	// must have been too.
	lossy bool

	// early holds the hashes of messages that were published before this relay heard them, and when each was: on a
	// Redis Cluster the two come by different ways.
	early map[string][]time.Time

	// retry is when to try again after a refusal.
	retry time.Time
}

// lines holds the lines of all guilds, within bounds. The relay's mutex guards it.
type lines struct {
	of map[string]*line

	entries, bytes               int // of all lines
	maxEntries, maxBytes         int
	maxLineEntries, maxLineBytes int
	unordered                    bool // a Redis Cluster: relays may hear messages in different orders
	heard, published, overflowed uint64
}

// earlyFor is how long an early hash is remembered.
const earlyFor = 5 * time.Second

func (ls *lines) line(guild string) *line {
	l := ls.of[guild]
	if l == nil {
		l = &line{}
		ls.of[guild] = l
	}
	return l
}

// tidy removes a line that holds nothing.
func (ls *lines) tidy(guild string, l *line) {
	if len(l.items) == 0 && !l.lossy && len(l.early) == 0 {
		delete(ls.of, guild)
	}
}

// add adds a message. It reports whether the message must still be published.
func (ls *lines) add(topic event.Topic, message []byte, now time.Time) bool {
	ls.heard++
	l := ls.line(topic.Guild)
	defer ls.tidy(topic.Guild, l)
	hash := hashOf(topic, message)
	if l.takeEarly(hash, now) {
		return false
	}
	if len(l.items) >= ls.maxLineEntries || l.bytes+len(message) > ls.maxLineBytes ||
		ls.entries >= ls.maxEntries || ls.bytes+len(message) > ls.maxBytes {
		ls.overflowed += uint64(len(l.items))
		ls.cut(l, len(l.items))
		l.lossy = true
	}
	l.items = append(l.items, item{topic, message, hash, ls.heard, now})
	l.bytes += len(message)
	ls.entries++
	ls.bytes += len(message)
	return true
}

// done removes a message that the leader has published, in the leader's order.
func (ls *lines) done(guild, hash string, now time.Time) {
	ls.published++
	l := ls.line(guild)
	defer ls.tidy(guild, l)
	for i, it := range l.items {
		if it.hash != hash {
			continue
		}
		l.lossy = false
		if ls.unordered {
			ls.dropOld(l, i, now)
			ls.remove(l, hash)
			return
		}
		ls.cut(l, i+1) // the leader left out those before it, and published a marker
		return
	}
	if !ls.unordered {
		return
	}
	if l.early == nil {
		l.early = map[string][]time.Time{}
	}
	for h, times := range l.early {
		if now.Sub(times[len(times)-1]) >= earlyFor {
			delete(l.early, h)
		}
	}
	l.early[hash] = append(l.early[hash], now)
}

// takeEarly reports whether a message with that hash was published early, and takes the oldest such.
func (l *line) takeEarly(hash string, now time.Time) bool {
	times := l.early[hash]
	for len(times) > 0 && now.Sub(times[0]) >= earlyFor {
		times = times[1:]
	}
	if len(times) <= 1 {
		delete(l.early, hash)
	} else {
		l.early[hash] = times[1:]
	}
	return len(times) > 0
}

// dropOld removes those of the first n items that are so old that the leader must have left them out.
func (ls *lines) dropOld(l *line, n int, now time.Time) {
	dropped := 0
	for dropped < n && now.Sub(l.items[dropped].at) > earlyFor {
		dropped++
	}
	ls.cut(l, dropped)
}

// remove removes the first item with a hash.
func (ls *lines) remove(l *line, hash string) {
	for i, it := range l.items {
		if it.hash == hash && i == 0 {
			ls.cut(l, 1)
			return
		}
		if it.hash == hash {
			l.bytes -= len(it.message)
			ls.bytes -= len(it.message)
			ls.entries--
			l.items = append(l.items[:i:i], l.items[i+1:]...)
			return
		}
	}
}

// cut removes the first n items.
func (ls *lines) cut(l *line, n int) {
	for _, it := range l.items[:n] {
		l.bytes -= len(it.message)
		ls.bytes -= len(it.message)
	}
	ls.entries -= n
	clear(l.items[:n])
	if l.items = l.items[n:]; len(l.items) == 0 {
		l.items = nil
	}
}

// reset removes everything.
func (ls *lines) reset() { ls.of, ls.entries, ls.bytes = map[string]*line{}, 0, 0 }
