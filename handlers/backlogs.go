package handlers

import (
	"sync"
	"time"

	"github.com/architus/guildcast/event"
	"github.com/architus/guildcast/history"
)

// notice is a message of a topic.
type notice struct {
	topic    event.Topic
	position history.Position // zero for a plain one
	data     []byte
	received time.Time // from Redis; zero if that is not known
}

func (n *notice) size() int { return len(n.data) + 128 }

// backlogs let a guild wait for recipients that lag, while the queue that it shares with other guilds goes on. Messages
// of the guild that come meanwhile are kept, and handled in order by a separate goroutine. While a guild exceeds a
// bound it waits for nobody: see Limits.
type backlogs struct {
	gateway *Gateway

	// Guarded by mu.
	mu                sync.Mutex
	maxGuild, maxNode int                 // bytes that wait, of a guild and of the node
	less              sync.Cond           // on mu: a backlog has become shorter
	guilds            map[string]*backlog // the guilds that wait; messages of others are handled by their queue
	bytes             int                 // of all backlogs
}

// backlog is the messages of one guild that wait. Guarded by backlogs.mu.
type backlog struct {
	notices []notice
	bytes   int
	kept    int           // notices so far
	handled int           // of them
	marks   []mark        // in their order
	full    chan struct{} // closed while a bound is exceeded: the guild waits for nobody
}

// mark is a place in a backlog.
type mark struct {
	at      int           // notices before it
	reached chan struct{} // closed when they have been handled
}

func newBacklogs(g *Gateway) *backlogs {
	x := &backlogs{gateway: g, guilds: map[string]*backlog{}}
	x.less.L = &x.mu
	x.set(*g.limits())
	return x
}

// set replaces the bounds.
func (x *backlogs) set(l Limits) {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.maxGuild, x.maxNode = bound(l.GuildBacklogBytes), bound(l.NodeBacklogBytes)
	x.less.Broadcast()
}

// keep keeps n if its guild waits, and reports whether it does. It blocks while the guild exceeds a bound, until enough
// messages are handled.
func (x *backlogs) keep(n notice) bool {
	x.mu.Lock()
	defer x.mu.Unlock()
	b := x.guilds[n.topic.Guild]
	for b != nil && x.overLocked(b) {
		x.less.Wait()
		b = x.guilds[n.topic.Guild]
	}
	if b == nil {
		return false
	}
	b.notices = append(b.notices, n)
	b.kept++
	b.bytes += n.size()
	x.bytes += n.size()
	if x.overLocked(b) {
		b.fill()
	}
	return true
}

// pass waits until all messages of guild that are kept now have been handled.
func (x *backlogs) pass(guild string) {
	x.mu.Lock()
	b := x.guilds[guild]
	if b == nil || b.handled == b.kept {
		x.mu.Unlock()
		return
	}
	if n := len(b.marks); n == 0 || b.marks[n-1].at != b.kept {
		b.marks = append(b.marks, mark{b.kept, make(chan struct{})})
	}
	reached := b.marks[len(b.marks)-1].reached
	x.mu.Unlock()
	<-reached // soon after the gateway has closed, too
}

// reach wakes those that wait for the first n notices.
func (b *backlog) reach(n int) {
	b.handled = n
	for len(b.marks) > 0 && b.marks[0].at <= n {
		close(b.marks[0].reached)
		b.marks = b.marks[1:]
	}
}

// overLocked reports whether b exceeds a bound.
func (x *backlogs) overLocked(b *backlog) bool {
	return b.bytes > x.maxGuild || b.bytes > 0 && x.bytes > x.maxNode
}

// fill ends the waiting for recipients.
func (b *backlog) fill() {
	select {
	case <-b.full:
	default:
		close(b.full)
	}
}

// wait makes guild wait for the recipients that are behind. No other message of the guild is being handled.
func (x *backlogs) wait(guild string, behind []lag) {
	b := &backlog{full: make(chan struct{})}
	x.mu.Lock()
	x.guilds[guild] = b
	x.mu.Unlock()
	if !x.gateway.spawn(func() { x.run(guild, b, behind) }) { // the gateway is closed: there is nobody to wait for
		x.mu.Lock()
		delete(x.guilds, guild)
		x.mu.Unlock()
	}
}

// run waits for recipients and handles the kept messages of guild, until none are left.
func (x *backlogs) run(guild string, b *backlog, behind []lag) {
	for {
		x.mu.Lock()
		full := b.full
		x.mu.Unlock()
		for _, l := range behind {
			l.Wait(full)
		}
		n, ok := x.next(guild, b)
		if !ok {
			return
		}
		behind = x.gateway.handle(n)
	}
}

// next removes and returns the oldest notice, after the one before has been handled. If there is none, or the gateway
// is closed, the guild no longer waits.
func (x *backlogs) next(guild string, b *backlog) (notice, bool) {
	x.mu.Lock()
	defer x.mu.Unlock()
	defer x.less.Broadcast()
	b.reach(b.kept - len(b.notices))
	if len(b.notices) == 0 || x.gateway.ctx.Err() != nil {
		b.reach(b.kept)
		delete(x.guilds, guild)
		x.bytes -= b.bytes
		return notice{}, false
	}
	n := b.notices[0]
	b.notices[0] = notice{}
	b.notices = b.notices[1:]
	b.bytes -= n.size()
	x.bytes -= n.size()
	if !x.overLocked(b) {
		select {
		case <-b.full:
			b.full = make(chan struct{})
		default:
		}
	}
	return n, true
}
