package redistest

import (
	"context"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/alicebob/miniredis/v2"
	"github.com/alicebob/miniredis/v2/server"
	goredis "github.com/redis/go-redis/v9"
)

// Before7 makes m claim as Redis before 7 does: entries that are gone from the stream stay pending until they are
// acknowledged. XCLAIM (of one id) and XAUTOCLAIM take them, and have nil in their place unless they are asked for ids
// only. miniredis itself forgets them; so they are kept in it, and hidden.
func Before7(tb testing.TB, m *miniredis.Miniredis) {
	tb.Helper()
	const inside = "before7" // the name of the client that is spared
	client := goredis.NewClient(&goredis.Options{Addr: m.Addr(), ClientName: inside})
	tb.Cleanup(func() { _ = client.Close() })
	p := &pending{client: client, gone: map[string]bool{}}
	m.Server().SetPreHook(func(c *server.Peer, cmd string, args ...string) bool {
		if !strings.HasPrefix(cmd, "X") || c.ClientName == inside {
			return false
		}
		p.mu.Lock()
		defer p.mu.Unlock()
		justID := option(args, "JUSTID") > 0
		switch {
		case cmd == "XAUTOCLAIM":
			p.autoclaim(c, args, justID)
		case cmd == "XCLAIM" && len(args) == 6 && justID:
			p.answer(c, []string{p.claim(args[0], args[1], args[2], args[3], args[4])}, true, args[0])
		case cmd == "XDEL":
			p.delete(c, args[0], args[1:])
		case cmd == "XRANGE" && p.gone[args[1]]:
			c.WriteLen(0)
		case cmd == "XACK":
			p.ack(c, args[0], args[1], args[2:])
		default:
			return false
		}
		return true
	})
}

// pending is what is pending in the groups of a miniredis.
type pending struct {
	client *goredis.Client

	mu   sync.Mutex
	gone map[string]bool // entries that were deleted and are pending; guarded by mu
}

// option returns where an option is, in whatever case, or -1.
func option(args []string, name string) int {
	return slices.IndexFunc(args, func(a string) bool { return strings.EqualFold(a, name) })
}

func (p *pending) delete(c *server.Peer, stream string, ids []string) {
	ctx := context.Background()
	for _, id := range ids {
		for _, g := range p.client.XInfoGroups(ctx, stream).Val() {
			p.gone[id] = p.gone[id] || len(p.state(stream, g.Name, id)) > 0
		}
		if !p.gone[id] {
			p.client.XDel(ctx, stream, id)
			delete(p.gone, id)
		}
	}
	c.WriteInt(len(ids))
}

func (p *pending) ack(c *server.Peer, stream, group string, ids []string) {
	ctx := context.Background()
	for _, id := range ids {
		p.client.XAck(ctx, stream, group, id)
		if p.gone[id] {
			p.client.XDel(ctx, stream, id)
			delete(p.gone, id)
		}
	}
	c.WriteInt(len(ids))
}

func (p *pending) state(stream, group, id string) []goredis.XPendingExt {
	return p.client.XPendingExt(context.Background(), &goredis.XPendingExtArgs{
		Stream: stream, Group: group, Start: id, End: id, Count: 1,
	}).Val()
}

// autoclaim looks at ten times as many entries as are wanted, and says where to go on.
func (p *pending) autoclaim(c *server.Peer, args []string, justID bool) {
	stream, group, consumer, idle, start := args[0], args[1], args[2], args[3], args[4]
	count := 100
	if i := option(args, "COUNT"); i > 0 {
		count, _ = strconv.Atoi(args[i+1])
	}
	all, _ := p.client.XPendingExt(context.Background(), &goredis.XPendingExtArgs{
		Stream: stream, Group: group, Start: start, End: "+", Count: 1_000_000,
	}).Result()
	next, ids := "0-0", []string(nil)
	for i, e := range all {
		if len(ids) == count || i == 10*count {
			next = e.ID
			break
		}
		if id := p.claim(stream, group, consumer, idle, e.ID); id != "" {
			ids = append(ids, id)
		}
	}
	c.WriteLen(2)
	c.WriteBulk(next)
	p.answer(c, ids, justID, stream)
}

// claim returns id if it was idle for long enough, and "" otherwise.
func (p *pending) claim(stream, group, consumer, idle, id string) string {
	ms, _ := strconv.Atoi(idle)
	state := p.state(stream, group, id)
	if len(state) == 0 || state[0].Idle < time.Duration(ms)*time.Millisecond {
		return ""
	}
	p.client.XClaim(context.Background(), &goredis.XClaimArgs{
		Stream: stream, Group: group, Consumer: consumer, Messages: []string{id},
	})
	return id
}

func (p *pending) answer(c *server.Peer, ids []string, justID bool, stream string) {
	ids = slices.DeleteFunc(ids, func(id string) bool { return id == "" })
	c.WriteLen(len(ids))
	for _, id := range ids {
		if justID {
			c.WriteBulk(id)
			continue
		}
		entry := p.client.XRange(context.Background(), stream, id, id).Val()
		if len(entry) == 0 || p.gone[id] {
			c.WriteNull()
			continue
		}
		c.WriteLen(2)
		c.WriteBulk(id)
		c.WriteLen(2 * len(entry[0].Values))
		for name, value := range entry[0].Values {
			c.WriteBulk(name)
			c.WriteBulk(value.(string))
		}
	}
}
