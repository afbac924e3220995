//go:build integration

package integration

import (
	"context"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"github.com/architus/guildcast/internal/test/wait"
)

// refused asks for an elevation and returns the word with which it is refused, or "".
func (c *client) refused(t *testing.T, token string) string {
	t.Helper()
	c.emit(t, "request_elevation", map[string]any{"token": token})
	var answer struct {
		Success bool `json:"success"`
		Error   struct {
			Code    int    `json:"code"`
			Message string `json:"message"`
		} `json:"error"`
	}
	c.event(t, "request_elevation_return", &answer)
	if answer.Success != (answer.Error.Message == "") {
		t.Errorf("neither success nor failure: %+v", answer)
	}
	return answer.Error.Message
}

// A backend that only publishes takes a token back: at once on all nodes (within a second is promised), and on those
// that are started later, also after Redis has lost its memory.
func TestRevocationReachesLaterNodes(t *testing.T) {
	beside(t)
	r := startRedis(t)
	b := startBrowsers(t)
	database := redisClient(t, r.url)
	good := mint(t, jwt.MapClaims{"sub": "1", "jti": "good"})
	bad := mint(t, jwt.MapClaims{"sub": "2", "jti": "bad"})
	nodes := []*node{startNode(t, "node 0", r.url), startNode(t, "node 1", r.url)}
	var staying, leaving []*client
	for _, n := range nodes {
		for token, list := range map[string]*[]*client{good: &staying, bad: &leaving} {
			c, _ := b.connect(t, n.url, nil)
			wait.Until(t, "elevation", func() bool { return c.refused(t, token) == "" })
			*list = append(*list, c)
		}
	}
	begun := time.Now()
	if err := database.Publish(context.Background(), "guildcast:revoke", `{"jti":"bad"}`).Err(); err != nil {
		t.Fatal(err)
	}
	for i, c := range leaving {
		var m struct {
			Reason string `json:"reason"`
		}
		c.event(t, "elevation_expired", &m)
		if took := time.Since(begun); m.Reason != "revoked" || !onTime(took, time.Second) {
			t.Errorf("node %d: %q after %v", i, m.Reason, took)
		}
	}
	check := func(n *node) {
		t.Helper()
		c, _ := b.connect(t, n.url, nil)
		if word := c.refused(t, bad); word != "token_revoked" {
			t.Errorf("%s: the revoked token gets %q", n.name, word)
		}
		if word := c.refused(t, good); word != "" {
			t.Errorf("%s: the other token gets %q", n.name, word)
		}
	}
	check(nodes[0])
	check(startNode(t, "later", r.url))
	r.stop(t)
	r.start(t)
	wait.Until(t, "the revocation to be stored again", func() bool {
		n, err := database.ZCard(context.Background(), "guildcast:revocations").Result()
		return err == nil && n == 1
	})
	check(startNode(t, "after a loss", r.url))
	for _, c := range staying {
		if es := c.events("elevation_expired"); len(es) > 0 {
			t.Errorf("the good token's browser heard %v", es)
		}
	}
}
