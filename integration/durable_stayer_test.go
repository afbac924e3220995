//go:build integration

package integration

import (
	"encoding/json"
	"fmt"
	"strings"
	"sync"
	"testing"

	"github.com/golang-jwt/jwt/v5"

	"github.com/architus/guildcast/internal/test/sioclient"
)

// stayer is a client that spectates a guild without positions, and stays.
type stayer struct {
	spectates chan struct{} // closed by the answer

	mu      sync.Mutex
	numbers []int    // of the events that came
	notices []string // resyncs
	trouble []string
}

func newStayer(t *testing.T, n *node, guild string) *stayer {
	t.Helper()
	l := &stayer{spectates: make(chan struct{})}
	token := mint(t, jwt.MapClaims{"guilds": guilds{guild: 0}})
	elevated := make(chan struct{}, 1)
	c, err := sioclient.Dial(strings.TrimPrefix(n.url, "http://"), sioclient.Options{
		Auth: fmt.Sprintf(`{"token":%q}`, token),
		OnEvent: func(p []byte) {
			switch text := string(p); {
			case strings.HasPrefix(text, `["request_elevation_return"`):
				notify(elevated)
			case strings.HasPrefix(text, `["spectate_return"`):
				close(l.spectates)
			default:
				l.hear(p)
			}
		}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	<-elevated
	spectate := mustJSON([]any{"spectate", map[string]any{"guild_id": guild, "token": token}})
	if err := c.Send("42" + spectate); err != nil {
		t.Fatal(err)
	}
	<-l.spectates
	return l
}

func (l *stayer) hear(p []byte) {
	l.mu.Lock()
	defer l.mu.Unlock()
	var args []json.RawMessage
	var payload struct{ I *int }
	switch {
	case strings.HasPrefix(string(p), `["resync",`):
		l.notices = append(l.notices, string(p))
	case json.Unmarshal(p, &args) != nil || len(args) != 2 || string(args[0]) != `"log_pool"` ||
		json.Unmarshal(args[1], &payload) != nil || payload.I == nil:
		l.trouble = append(l.trouble, string(p))
	default:
		l.numbers = append(l.numbers, *payload.I)
	}
}

func (l *stayer) last() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.numbers) == 0 {
		return -1
	}
	return l.numbers[len(l.numbers)-1]
}

// judge compares what came with the numbers of what was published since. Where something was lost, the client must have
// been told; overtaken says that it may have been.
func (l *stayer) judge(want []int, lost, overtaken bool) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	told := len(l.notices) > 0
	switch {
	case len(l.trouble) > 0:
		return fmt.Errorf("%q", l.trouble)
	case lost != told && !(overtaken && told):
		return fmt.Errorf("something was lost: %t; it was told: %q", lost, l.notices)
	case told:
		return nil
	}
	for i := range max(len(want), len(l.numbers)) {
		if i >= len(want) || i >= len(l.numbers) || l.numbers[i] != want[i] {
			return fmt.Errorf("%d events came, want %d; from %d on they are %v, want %v", len(l.numbers), len(want), i,
				l.numbers[min(i, len(l.numbers)):min(i+5, len(l.numbers))], want[min(i, len(want)):min(i+5, len(want))])
		}
	}
	return nil
}

// count returns the number of events that came.
func (l *stayer) count() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.numbers)
}
