package adapter

import (
	"context"
	"errors"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/architus/guildcast/adapter/bus"
	"github.com/architus/guildcast/engine"
)

// classic is the adapter of one namespace. Three things run beside the application's goroutines: the queue of
// broadcasts and requests, handled in the order of their arrival; the queue of responses, so that a listener may wait
// for one; and the lane on which the application's listeners run, so that a slow one holds up neither.
type classic struct {
	*engine.Adapter
	*Classic // what all namespaces share

	// Static after start.
	bus    *bus.Bus
	uid    string // of this server in this namespace; 6 characters
	nsp    string
	base   string // channel of broadcasts; those to one room are on base + room + "#"
	ask    string // channel of requests
	answer string // channel of responses; those to us alone are on answer + uid + "#"
	own    []byte // how our broadcasts begin
	heard  *bus.Subscription
	told   *bus.Subscription
	rooms  *roomChannels // nil with Options.PatternSubscription
	run    context.Context
	stop   context.CancelCauseFunc
	subbed chan struct{} // closed by subscribe when Redis has confirmed everything

	// Owned by the queue of broadcasts and requests.
	scratch  []byte
	selected selection

	pending   pending
	acks      ackRequests
	counting  countBarrier
	listeners lane
	servers   atomic.Int64 // the count that Redis gave last, for when it gives none

	wg     sync.WaitGroup
	closed sync.Once

	// Guarded by mu.
	mu      sync.Mutex
	failure error         // why subscribing fails at present
	failed  chan struct{} // closed when failure is set
}

// startTimeout is how long the making of a namespace waits for its subscriptions.
const startTimeout = 3 * time.Second

// maxListenerCalls bounds the calls of listeners that wait behind a slow one. More are dropped, and counted.
const maxListenerCalls = 10_000

// start subscribes. It returns when Redis has confirmed that, or after startTimeout; then it goes on by itself.
func (a *classic) start() {
	a.nsp = a.Nsp().Name()
	a.base = a.opts.Key + "#" + a.nsp + "#"
	a.ask = a.opts.Key + "-request#" + a.nsp + "#"
	a.answer = a.opts.Key + "-response#" + a.nsp + "#"
	a.own = append([]byte{0x93, 0xa0 | byte(len(a.uid))}, a.uid...)
	a.run, a.stop = context.WithCancelCause(context.Background())
	a.subbed, a.failed = make(chan struct{}), make(chan struct{})
	a.listeners = lane{limit: maxListenerCalls, logger: a.opts.Logger, wg: &a.wg}
	a.servers.Store(1)
	a.heard = a.bus.NewSubscription(receiver{a})
	a.told = a.bus.NewSubscription(bus.HandlerFunc(a.onResponse))
	if !a.opts.PatternSubscription {
		a.rooms = newRoomChannels(a)
	}
	a.wg.Go(a.subscribe)
	ctx, cancel := context.WithTimeout(a.run, startTimeout)
	defer cancel()
	if err := a.subscribed(ctx); err != nil {
		a.opts.Logger.Error("adapter does not hear the cluster yet", "namespace", a.nsp, "err", err)
	}
}

// Ready waits until Redis has confirmed all subscriptions, and asks it for the rest that the adapter needs. See the
// function Ready.
func (a *classic) Ready(ctx context.Context) error {
	if err := a.subscribed(ctx); err != nil {
		return err
	}
	if a.run.Err() != nil {
		return ErrClosed
	}
	if _, err := a.countServers(ctx); err != nil {
		return err
	}
	return a.bus.PublishNow(ctx, a.answer+a.uid+"#", nil) // only we hear it
}

// subscribed waits until Redis has confirmed all subscriptions, or has refused one.
func (a *classic) subscribed(ctx context.Context) error {
	a.mu.Lock()
	failed := a.failed
	a.mu.Unlock()
	select {
	case <-a.subbed:
	case <-failed:
	case <-ctx.Done():
	}
	select {
	case <-a.subbed:
		return nil
	default:
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.failure != nil {
		return a.failure
	}
	if a.run.Err() != nil {
		return ErrClosed
	}
	return ctx.Err()
}

// retryPause is the pause before subscriptions that Redis refused are tried again.
const retryPause = 2 * time.Second

// subscribe makes the subscriptions, however long that takes.
func (a *classic) subscribe() {
	for {
		err := a.subscribeAll()
		if err == nil {
			close(a.subbed)
			return
		}
		if a.run.Err() != nil {
			return
		}
		a.mu.Lock()
		if a.failure == nil {
			close(a.failed)
		}
		a.failure = err
		a.mu.Unlock()
		if errors.Is(err, bus.ErrClosed) {
			return
		}
		a.opts.Logger.Error("redis refuses the adapter's subscriptions", "namespace", a.nsp, "err", err)
		select {
		case <-time.After(retryPause):
		case <-a.run.Done():
			return
		}
	}
}

// subscribeAll subscribes to responses first: once requests are heard, this server is counted and asks others. What
// was added before an error stays, and is counted twice at the next try, which does no harm.
func (a *classic) subscribeAll() error {
	if err := a.told.Subscribe(a.run, a.answer, a.answer+a.uid+"#"); err != nil {
		return err
	}
	channels := []string{a.ask}
	if a.opts.LegacyEmitter {
		channels = append(channels, a.opts.Key+"#emitter")
	}
	if a.rooms != nil {
		channels = append(channels, a.base)
	} else if err := a.heard.PSubscribe(a.run, globEscape(a.base)+"*"); err != nil {
		return err
	}
	return a.heard.Subscribe(a.run, channels...)
}

// globEscape escapes what has a meaning in a Redis pattern.
func globEscape(s string) string {
	return strings.NewReplacer(`\`, `\\`, `*`, `\*`, `?`, `\?`, `[`, `\[`, `]`, `\]`).Replace(s)
}

// Close leaves the cluster. The library calls it when the server or a dynamic namespace is closed.
func (a *classic) Close() {
	a.closed.Do(func() {
		a.stop(ErrClosed)
		a.heard.Close()
		a.told.Close()
		a.listeners.close()
		a.acks.close()
		done := make(chan struct{})
		go func() { // ends with the last goroutine of the adapter
			a.wg.Wait()
			close(done)
		}()
		select {
		case <-done:
		case <-time.After(closeTimeout): // a listener, or a callback, does not return: it may be the one that closes
			a.opts.Logger.Warn("adapter closed while a callback is still running", "namespace", a.nsp)
		}
		a.release(a.Nsp().Server())
		a.Adapter.Close()
	})
}
