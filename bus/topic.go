package bus

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
)

// Kind is a kind of subscription in Redis.
type Kind uint8

const (
	// Channel is a channel of plain pub/sub: SUBSCRIBE and PUBLISH.
	Channel Kind = iota
	// Pattern is a glob-style pattern of plain channels: PSUBSCRIBE. Nothing can be published to it.
	Pattern
	// Shard is a channel of sharded pub/sub: SSUBSCRIBE and SPUBLISH, since Redis 7.
	Shard

	kinds
)

// verbs are the commands of each kind, which are also the first elements of their confirmations.
var verbs = [kinds]struct{ sub, unsub string }{
	Channel: {"subscribe", "unsubscribe"},
	Pattern: {"psubscribe", "punsubscribe"},
	Shard:   {"ssubscribe", "sunsubscribe"},
}

// topic is one channel or pattern: which Subscriptions want it, and what Redis was told. Bus.mu guards all of it. subs
// is replaced, never changed, because the reader uses it after it has unlocked mu.
type topic struct {
	kind Kind
	name string

	subs []*Subscription // those that want it, in the order in which they came

	link        *link  // nil: unrouted, or not wanted
	epoch       uint64 // numbers its attachment to a link; unique in a Bus
	dirty       bool   // in link.dirty
	sent        bool   // the last command said subscribe
	outstanding int    // commands that Redis has not answered
	solo        bool   // was refused together with others: goes in a command of its own
	refused     bool   // and the log has it
	lost        bool   // was held before, or wanted when its link ended: counted in Bus.lost

	waiters []*wait
}

// held reports whether Redis has confirmed the topic on a connection that lives.
func (t *topic) held() bool { return t.link != nil && t.sent && t.outstanding == 0 }

// wait is one call of Subscribe. Guarded by Bus.mu until done is closed.
type wait struct {
	left int // topics that are not held yet
	over bool
	err  error
	done chan struct{}
}

func (w *wait) finish(err error) {
	if w.over {
		return
	}
	w.over, w.err = true, err
	close(w.done)
}

// subscribeTo adds names to s and waits until Redis holds them.
func (b *Bus) subscribeTo(ctx context.Context, s *Subscription, k Kind, names []string) error {
	p := b.want(s, k, names)
	err := p.Wait(ctx)
	if err != nil && p.w != nil {
		p.giveUp()
		b.unwant(s, k, names)
	}
	return err
}

// supports reports why names of kind k can't be subscribed to, if so.
func (b *Bus) supports(k Kind) error {
	if k >= kinds {
		return fmt.Errorf("%w: no such kind of channel: %d", ErrUnsupported, k)
	}
	return b.router.supports()
}

// want adds names to s.
func (b *Bus) want(s *Subscription, k Kind, names []string) *Pending {
	p := &Pending{s: s, kind: k, names: names}
	if p.err = b.supports(k); p.err == nil {
		p.w, p.err = b.addRefs(s, k, names)
	}
	return p
}

// Pending is a subscription that Redis may not have confirmed yet.
type Pending struct {
	s     *Subscription
	kind  Kind
	names []string
	w     *wait // nil when err was there from the beginning
	err   error
}

// Wait returns nil once Redis has confirmed all names, or an error if Redis refuses one or ctx ends. It may be called
// again: what was refused may have been granted since.
func (p *Pending) Wait(ctx context.Context) error {
	err := p.err
	if p.w != nil {
		select {
		case <-p.w.done:
			if err = p.w.err; err != nil && p.granted() {
				err = nil
			}
		case <-ctx.Done():
			err = ctx.Err()
			if last := p.s.bus.lastError(); last != nil {
				err = fmt.Errorf("%w (redis: %w)", err, last)
			}
		case <-p.s.bus.ctx.Done():
			err = ErrClosed
		case <-p.s.ended:
			err = ErrClosed
		}
	}
	if err != nil {
		return fmt.Errorf("subscribe to %s: %w", list(p.names), err)
	}
	return nil
}

// Done reports whether Wait would return nil at once.
func (p *Pending) Done() bool {
	if p.w == nil {
		return false
	}
	select {
	case <-p.w.done:
		return p.w.err == nil || p.granted()
	default:
		return false
	}
}

// granted reports whether Redis has confirmed all names.
func (p *Pending) granted() bool {
	b := p.s.bus
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, name := range p.names {
		if t := b.topics[p.kind][name]; t == nil || p.s.refs[t] == 0 || !t.held() {
			return false
		}
	}
	return true
}

// giveUp removes the wait from its topics.
func (p *Pending) giveUp() {
	b := p.s.bus
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, name := range p.names {
		if t := b.topics[p.kind][name]; t != nil {
			t.waiters = slices.DeleteFunc(t.waiters, func(other *wait) bool { return other == p.w })
		}
	}
}

func (b *Bus) lastError() error {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.lastErr
}

// list names channels in an error, at most four of them.
func list(names []string) string {
	more := ""
	if len(names) > 4 {
		more = fmt.Sprintf(" and %d more", len(names)-4)
		names = names[:4]
	}
	return fmt.Sprintf("%q", names) + more
}

func (b *Bus) addRefs(s *Subscription, k Kind, names []string) (*wait, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.closed || s.refs == nil {
		return nil, ErrClosed
	}
	b.startLocked()
	w := &wait{done: make(chan struct{})}
	for _, name := range names {
		t := b.topics[k][name]
		if t == nil {
			t = &topic{kind: k, name: name}
			b.topics[k][name] = t
		}
		if s.refs[t]++; s.refs[t] == 1 {
			t.subs = append(t.subs[:len(t.subs):len(t.subs)], s)
		}
		if t.held() {
			continue
		}
		w.left++
		t.waiters = append(t.waiters, w)
		b.placeLocked(t)
	}
	if w.left == 0 {
		w.finish(nil)
	}
	return w, nil
}

// unwant removes names from s.
func (b *Bus) unwant(s *Subscription, k Kind, names []string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, name := range names {
		if k >= kinds {
			break
		}
		if t := b.topics[k][name]; t != nil && s.refs[t] > 0 {
			b.dropRefLocked(s, t, 1)
		}
	}
	b.reviewLocked()
}

// forget removes all names from s, for good.
func (b *Bus) forget(s *Subscription) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for t, n := range s.refs {
		b.dropRefLocked(s, t, n)
	}
	s.refs = nil
	b.reviewLocked()
}

func (b *Bus) dropRefLocked(s *Subscription, t *topic, n int) {
	if s.refs[t] -= n; s.refs[t] > 0 {
		return
	}
	delete(s.refs, t)
	subs := make([]*Subscription, 0, len(t.subs))
	for _, other := range t.subs {
		if other != s {
			subs = append(subs, other)
		}
	}
	t.subs = subs
	if len(t.subs) == 0 {
		b.foundLocked(t)
		b.placeLocked(t)
	}
}

// foundLocked stops counting t as lost.
func (b *Bus) foundLocked(t *topic) {
	if t.lost {
		t.lost = false
		b.lost--
	}
}

// placeLocked queues a command for t if Redis must be told something else about it.
func (b *Bus) placeLocked(t *topic) {
	switch {
	case t.link != nil:
		t.link.touchLocked(t)
	case len(t.subs) == 0:
		delete(b.unrouted, t)
		delete(b.topics[t.kind], t.name)
	default:
		if l := b.links[mainRoute]; l != nil && b.router.route(t.kind) == mainRoute {
			l.attachLocked(t)
			return
		}
		b.unrouted[t] = struct{}{}
		b.reroute.Send()
	}
}

// settleLocked records that Redis has answered the last command about t.
func (b *Bus) settleLocked(t *topic) {
	switch {
	case t.outstanding > 0:
	case t.sent:
		b.foundLocked(t)
		t.solo, t.refused = false, false
		waiters := t.waiters
		t.waiters = nil
		for _, w := range waiters {
			if w.left--; w.left == 0 {
				w.finish(nil)
			}
		}
	case len(t.subs) == 0:
		t.link.detachLocked(t)
		delete(b.topics[t.kind], t.name)
	}
}

// refuseLocked ends all waits for t with err. Subscriptions that had t before keep wanting it.
func (t *topic) refuseLocked(err error) {
	for _, w := range t.waiters {
		w.finish(err)
	}
	t.waiters = nil
}

// fatal reports whether trying again soon is useless: the server has understood the command and refused it.
func fatal(err error) bool {
	var re replyError
	if !errors.As(err, &re) {
		return errors.Is(err, ErrUnsupported)
	}
	return !re.transient()
}

// replyError is an error that Redis answered.
type replyError string

func (e replyError) Error() string { return string(e) }

func (e replyError) code() string {
	code, _, _ := strings.Cut(string(e), " ")
	return code
}

// transient reports whether the same command may succeed later.
func (e replyError) transient() bool {
	switch e.code() {
	case "LOADING", "CLUSTERDOWN", "TRYAGAIN", "MASTERDOWN", "BUSY":
		return true
	}
	return strings.Contains(string(e), "max number of clients")
}

// unauthenticated reports whether Redis rejects the user or the password. Redis before 6 has no error code for that.
func (e replyError) unauthenticated() bool {
	switch e.code() {
	case "WRONGPASS", "NOAUTH":
		return true
	}
	text := strings.ToLower(string(e))
	return strings.HasPrefix(text, "err auth") || strings.HasPrefix(text, "err invalid password") ||
		strings.HasPrefix(text, "err client sent auth")
}

// Is makes errors.Is match ErrRefused, ErrUnauthenticated if that is the reason, and ErrUnsupported if the server does
// not know the command.
func (e replyError) Is(target error) bool {
	switch target {
	case ErrRefused:
		return !e.transient() && e.code() != "MOVED" && e.code() != "ASK" && e.code() != "READONLY"
	case ErrUnauthenticated:
		return e.unauthenticated()
	case ErrUnsupported:
		return strings.HasPrefix(strings.ToLower(string(e)), "err unknown command")
	}
	return false
}
