package redisurl

import (
	"fmt"
	"strings"

	"github.com/alicebob/miniredis/v2"
	"github.com/alicebob/miniredis/v2/server"
)

// embedded is a miniredis in this process. It is for demonstrations and tests:
//
//   - it holds everything in memory, without a bound, and nothing survives it;
//   - it listens on a loopback address, so that emitters, Node.js servers and
//     redis-cli on the same machine can join, and asks for no password;
//   - it has no sharded pub/sub (so no sharded adapter), no cluster, and of
//     scripts, ACLs and the rarer commands little or nothing;
//   - a subscriber that does not read holds up everybody.
type embedded struct{ *miniredis.Miniredis }

func startEmbedded(addr string) (*embedded, error) {
	m := miniredis.NewMiniRedis()
	if err := m.StartAddr(addr); err != nil {
		return nil, fmt.Errorf("start embedded redis: %w", err)
	}
	// Left alone, miniredis's clock stands still and no key ever expires.
	m.ClockTTL(true)
	m.Server().SetPreHook(commandDocs)
	return &embedded{m}, nil
}

// commandDocs answers COMMAND DOCS with nothing. miniredis answers it as COMMAND without arguments, on which redis-cli,
// which asks when it starts, aborts.
func commandDocs(c *server.Peer, command string, args ...string) bool {
	docs := command == "COMMAND" && len(args) > 0 && strings.EqualFold(args[0], "DOCS")
	if docs {
		c.WriteMapLen(0)
	}
	return docs
}
