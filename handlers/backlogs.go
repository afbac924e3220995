package handlers

import (
	"sync"

	"github.com/architus/guildcast/event"
)

// Bounds on what waits for slow recipients, in bytes. While a guild exceeds one, it waits for nobody: the engine queues
// its events, or leaves them out, for each connection.
const (
	backlogBytes  = 4 << 20  // of a guild
	backlogsBytes = 64 << 20 // of a node
)

// notice is a message of a topic.
type notice struct {
	topic event.Topic
	data  []byte
}

func (n *notice) size() int { return len(n.data) + 128 }

// backlogs let a guild wait for recipients that lag, while the queue that it shares with other guilds goes on. Messages
// of the guild that come meanwhile are kept, and handled in order by a separate goroutine.
type backlogs struct {
	gateway *Gateway

	mu     sync.Mutex
	less   sync.Cond           // on mu: a backlog has become shorter
	guilds map[string]*backlog // the guilds that wait; messages of others are handled by their queue
	bytes  int                 // of all backlogs
}

// backlog is the messages of one guild that wait. Guarded by backlogs.mu.
type backlog struct {
	notices []notice
	bytes   int
	full    chan struct{} // closed while a bound is exceeded: the guild waits for nobody
}

func newBacklogs(g *Gateway) *backlogs {
	x := &backlogs{gateway: g, guilds: map[string]*backlog{}}
	x.less.L = &x.mu
	return x
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
	b.bytes += n.size()
	x.bytes += n.size()
	if x.overLocked(b) {
		b.fill()
	}
	return true
}

// overLocked reports whether b exceeds a bound.
func (x *backlogs) overLocked(b *backlog) bool {
	return b.bytes > backlogBytes || b.bytes > 0 && x.bytes > backlogsBytes
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

// next removes and returns the oldest notice. If there is none, or the gateway is closed, the guild no longer waits.
func (x *backlogs) next(guild string, b *backlog) (notice, bool) {
	x.mu.Lock()
	defer x.mu.Unlock()
	defer x.less.Broadcast()
	if len(b.notices) == 0 || x.gateway.ctx.Err() != nil {
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
