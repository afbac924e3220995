//go:build integration

package integration

import (
	"encoding/json"
	"fmt"
	"testing"

	"github.com/golang-jwt/jwt/v5"

	"github.com/architus/guildcast/internal/test/wait"
)

// poolEnd is what a browser hears about one of its pool requests.
type poolEnd struct {
	finished, errors int
	ids              map[string]int
	code             int
}

// ends sorts what was heard by the requests' _id.
func (c *client) ends(t *testing.T) map[int]*poolEnd {
	t.Helper()
	ends := map[int]*poolEnd{}
	for _, h := range c.events("pool_response", "error") {
		var m struct {
			ID       int    `json:"_id"`
			Type     string `json:"type"`
			Finished bool   `json:"finished"`
			Code     int    `json:"code"`
			Data     []struct {
				ID string `json:"id"`
			} `json:"data"`
		}
		if len(h.Args) == 0 || json.Unmarshal(h.Args[0], &m) != nil {
			t.Fatalf("unreadable: %v", h)
		}
		e := ends[m.ID]
		if e == nil {
			e = &poolEnd{ids: map[string]int{}}
			ends[m.ID] = e
		}
		if h.Event == "error" {
			e.errors, e.code = e.errors+1, m.Code
		}
		if m.Finished {
			e.finished++
		}
		if m.Type == "member" {
			for _, d := range m.Data {
				e.ids[d.ID]++
			}
		}
	}
	return ends
}

// Two nodes, workers that are killed again and again, and browsers that ask for pools: every request ends, with a whole
// answer or with 504, and none twice.
func TestPoolsWhileWorkersAreKilled(t *testing.T) {
	t.Parallel()
	const (
		members  = 25
		requests = 120 // of each browser
	)
	r := startRedis(t)
	pools := writePools(t, members)
	env := []string{"PART_SIZE=10", "DELAY_MS=5"}
	languages := []string{"node", "python"}
	workers := map[string]*process{}
	for _, l := range languages {
		workers[l] = startExample(t, l, r.url, pools, env...)
	}
	b := startBrowsers(t)
	token := mint(t, jwt.MapClaims{"guilds": guilds{workerGuild: 0}})
	var clients []*client
	for i := range 2 {
		n := startNode(t, fmt.Sprint("node ", i), r.url, "GUILDCAST_INTERPRETER=worker")
		for range 2 {
			c, _ := b.connect(t, n.url, nil)
			c.elevate(t, token)
			clients = append(clients, c)
		}
	}
	for i := range requests {
		for _, c := range clients {
			q := map[string]any{"_id": i, "type": "member", "guild_id": workerGuild, "token": token}
			if i%2 == 1 {
				q["request"], q["ids"] = "ids", []string{"1000", "1001", "7"}
			}
			c.emit(t, "pool", q)
		}
		if i%20 != 19 {
			continue
		}
		l := languages[i/20%2]
		if err := workers[l].cmd.Process.Kill(); err != nil {
			t.Fatal(err)
		}
		<-workers[l].done
		workers[l] = startExample(t, l, r.url, pools, env...)
	}
	timedOut := 0
	for n, c := range clients {
		wait.Until(t, "every request to end", func() bool {
			over := 0
			for _, e := range c.ends(t) {
				if e.finished+e.errors > 0 {
					over++
				}
			}
			return over == requests
		})
		for i, e := range c.ends(t) {
			want := members
			if i%2 == 1 {
				want = 2
			}
			switch {
			case e.finished+e.errors != 1:
				t.Errorf("browser %d, request %d ended %d times and failed %d times", n, i, e.finished, e.errors)
			case e.errors == 1 && e.code == 504:
				timedOut++
			case e.errors == 1:
				t.Errorf("browser %d, request %d failed with %d", n, i, e.code)
			case len(e.ids) != want:
				t.Errorf("browser %d, request %d gave %d members, not %d", n, i, len(e.ids), want)
			}
			for id, times := range e.ids {
				if times != 1 {
					t.Errorf("browser %d, request %d gave member %s %d times", n, i, id, times)
				}
			}
		}
	}
	t.Logf("%d of %d requests timed out", timedOut, requests*len(clients))
	// And what the mock chat says comes from a worker as well.
	clients[0].emit(t, "interpret", map[string]any{
		"action": 3001, "guild_id": 4211, "message_id": 2, "content": "hi", "allowed_commands": []string{},
	})
	if h := clients[0].event(t, "interpret_response", nil); compact(t, h.Args) !=
		`[{"actions":[{"action":3001,"content":"you said: hi","message_id":3}],"guild_id":4211}]` {
		t.Errorf("interpret: %v", h)
	}
}
