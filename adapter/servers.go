package adapter

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/architus/guildcast/bus"
)

// ServerCount returns the number of servers in the cluster, this one included. It asks Redis. If Redis does not answer
// it returns the last known number.
func (c *cluster) ServerCount() int64 {
	n := c.servers.Load()
	if !c.away() {
		ctx, cancel := c.timeout(context.Background())
		defer cancel()
		var err error
		if n, err = c.countServers(ctx); err != nil {
			c.logger.Warn("servers are not counted", "namespace", c.nsp, "err", err)
		}
	}
	c.counting.release(n)
	return n
}

// A count that is lower than the last one is taken again, recounts times, recountPause apart: a server whose Redis has
// moved is missing until it has changed over.
const (
	recounts     = 3
	recountPause = 150 * time.Millisecond
)

// countServers asks Redis for the number of servers. With bus.ErrPartial it returns the number of those that are known
// to receive: a server that is connected to a Redis that does not answer receives nothing.
func (c *cluster) countServers(ctx context.Context) (int64, error) {
	n, err := c.numSub(ctx, c.counted)
	for range recounts {
		if err != nil || int64(n) >= c.servers.Load() || !pause(ctx, recountPause) {
			break
		}
		n, err = c.numSub(ctx, c.counted)
	}
	count := max(int64(n), 1)
	switch {
	case errors.Is(err, bus.ErrPartial):
		return count, fmt.Errorf("count servers: %w", err)
	case err != nil:
		return c.servers.Load(), fmt.Errorf("count servers: %w", err)
	}
	c.servers.Store(count)
	return count, nil
}

// pause returns false if ctx has ended before.
func pause(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// leftLooks is how many times in a row, times.look apart, servers must be found unsubscribed: then they have left.
const leftLooks = 3

// othersLeft reports whether all servers that are still subscribed have answered, and some of the want servers that
// were asked are not subscribed any more. It returns false if a server that did not sign its answer may be among those.
func (c *cluster) othersLeft(ctx context.Context, want int, got []answer) bool {
	n, err := c.countServers(ctx)
	if err != nil || n > int64(want) {
		return false
	}
	here := map[string]bool{c.uid: true} // and have answered
	for _, a := range got {
		if a.uid == "" {
			continue
		}
		if subscribers, err := c.numSub(ctx, c.answers+a.uid+"#"); err == nil && subscribers > 0 {
			here[a.uid] = true
		}
	}
	return int64(len(here)) >= n
}

// peersTimeout bounds the search for the names of servers that did not answer.
const peersTimeout = time.Second

// peers returns the ids of all subscribed servers. Each has its own response channel.
func (c *cluster) peers() []string {
	ctx, cancel := context.WithTimeout(context.Background(), peersTimeout)
	defer cancel()
	var uids []string
	for _, channel := range c.list(ctx, globEscape(c.answers)+"?*#") {
		if uid := strings.TrimSuffix(strings.TrimPrefix(channel, c.answers), "#"); c.isServer(uid) {
			uids = append(uids, uid)
		}
	}
	return uids
}

// missing returns those of the servers uids that are not self and did not sign an answer. It returns none if there
// are no more of them than unsigned answers: these can be theirs, and the missing server has left.
func missing(uids []string, self string, got []answer) []string {
	var out []string
	unsigned := 0
	for _, a := range got {
		if a.uid == "" {
			unsigned++
		}
	}
next:
	for _, uid := range uids {
		if uid == self {
			continue
		}
		for _, a := range got {
			if a.uid == uid {
				continue next
			}
		}
		out = append(out, uid)
	}
	if len(out) <= unsigned {
		return nil
	}
	return out
}

// globEscape escapes what has a meaning in a Redis pattern.
func globEscape(s string) string {
	return strings.NewReplacer(`\`, `\\`, `*`, `\*`, `?`, `\?`, `[`, `\[`, `]`, `\]`).Replace(s)
}
