package handlers

import (
	"strings"
	"testing"

	"github.com/architus/guildcast/internal/test/wait"
)

// TestSetLimits changes each limit that is kept somewhere else, and sees it in effect for what comes next.
func TestSetLimits(t *testing.T) {
	b := newBench(t, Config{})
	g, s := b.g, b.socket("s")
	ask := func() string {
		s.send("interpret", m{"action": 3001, "guild_id": 1, "message_id": 2, "content": strings.Repeat("x", 50)})
		return strings.Join(b.take(s), "")
	}
	if got := ask(); strings.Contains(got, "too_large") || strings.Contains(got, "rate_limited") {
		t.Fatalf("with the defaults: %s", got)
	}
	g.SetLimits(Limits{Content: 10})
	if got := ask(); !strings.Contains(got, "413") {
		t.Errorf("a message that is too long now: %s", got)
	}
	g.SetLimits(Limits{SocketRate: 0.0001, SocketBurst: 1})
	ask() // what was left in the bucket is cut to the burst
	if s.withinRates() {
		t.Error("the rate of a socket that is connected did not change")
	}
	g.SetLimits(Limits{SocketRate: -1, AddressRate: 0.0001, AddressBurst: 1})
	if !s.withinRates() || s.withinRates() {
		t.Error("the rate of an address did not change")
	}
	g.SetLimits(Limits{
		SocketRate: -1, AddressRate: -1, NodeRequests: 4, AddressRequests: 7, UserBytes: 8,
		GuildBacklogBytes: 9, NodeBacklogBytes: -1, NodeReplays: 10, NodeReplayBytes: 11,
		PageBytes: 12, ResultBytes: 13,
	})
	for range 20 {
		if !s.withinRates() {
			t.Fatal("a limit that is gone is in effect")
		}
	}
	wait.Until(t, "the requests from above to end", func() bool { return g.slots.inProgress() == 0 })
	first := g.slots.take(s, 1)
	if first == nil || g.slots.take(s, 1) != nil {
		t.Fatal("the requests of a node are not bounded anew")
	}
	first.give()
	if g.slots.anonymous.share != 7 || g.slots.elevated.byteShare != 8 || g.slots.elevated.requests != 3 ||
		g.backlogs.maxGuild != 9 || g.backlogs.maxNode < 1<<40 || g.replays.max.Load() != 10 ||
		g.streams.windows.max.Load() != 11 || g.pages.maxBytes != 12 || g.results.maxBytes != 13 {
		t.Error("a limit is the one from before")
	}
}

// A limit that stays the same does not give anybody a new burst.
func TestSetLimitsRefillsNothing(t *testing.T) {
	limits := Limits{AddressRate: 0.0001, AddressBurst: 1, SocketRate: 0.0001, SocketBurst: 2}
	b := newBench(t, Config{Limits: limits})
	s := b.socket("s")
	if !s.withinRates() || s.withinRates() {
		t.Fatal("the bursts are not those of the limits")
	}
	limits.Content = 10
	b.g.SetLimits(limits)
	if b.g.addresses.allow(s.address) || s.events.Allow() {
		t.Error("a burst is full again")
	}
}
