package redis

import (
	"context"
	"sync"

	"github.com/architus/guildcast/bus"
)

// ear is a subscription to one channel for as long as its owner lives. newEar does not wait for it: a node may be
// started before its Redis.
type ear struct {
	sub     *bus.Subscription
	channel string

	// Guarded by mu.
	mu    sync.Mutex
	hears *bus.Pending
}

func newEar(b *bus.Bus, channel string, handle func(bus.Message)) *ear {
	sub := b.NewSubscription(bus.HandlerFunc(handle))
	return &ear{sub: sub, channel: channel, hears: sub.Want(bus.Channel, channel)}
}

// wait returns once Redis has confirmed the subscription. If Redis refuses it (a right may be missing), the next call
// asks again.
func (e *ear) wait(ctx context.Context) error {
	e.mu.Lock()
	hears := e.hears
	e.mu.Unlock()
	err := hears.Wait(ctx)
	if err == nil || ctx.Err() != nil {
		return err
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.hears == hears {
		e.hears = e.sub.Want(bus.Channel, e.channel)
		e.sub.Unsubscribe(bus.Channel, e.channel) // releases the refused one
	}
	return err
}

func (e *ear) close() { e.sub.Close() }
