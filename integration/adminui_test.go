//go:build integration

package integration

import (
	"fmt"
	"testing"

	"github.com/golang-jwt/jwt/v5"
	"golang.org/x/crypto/bcrypt"
)

// adminCluster is a guildcast node and a Node.js server, both with the official admin UI.
type adminCluster struct {
	node *node
	peer string // URL of the Node.js server, which serves the page too
	env  []string
}

// startAdminCluster starts a cluster; env is added to the node's environment.
func startAdminCluster(t *testing.T, env ...string) adminCluster {
	t.Helper()
	const user, password = "operator", "correct horse"
	hash, err := bcrypt.GenerateFromPassword([]byte(password), bcrypt.MinCost)
	if err != nil {
		t.Fatal(err)
	}
	r := startRedis(t)
	port := freePort(t)
	c := adminCluster{peer: fmt.Sprintf("http://127.0.0.1:%d", port)}
	start(t, "node server", []string{
		fmt.Sprint("PORT=", port), "REDIS_URL=" + r.url, "USER=" + user, "HASH=" + string(hash),
	}, nil, "node", "nodejs/adminui/server.mjs").waitOutput(t, "node server is ready")
	c.node = startNode(t, "node", r.url, append([]string{
		"GUILDCAST_ADMIN_UI=true", "GUILDCAST_ADMIN_UI_USER=" + user, "GUILDCAST_ADMIN_UI_PASSWORD=" + string(hash),
		"GUILDCAST_ORIGINS=" + c.peer,
		"GUILDCAST_GRACE=1s",
	}, env...)...)
	c.env = []string{
		"NODE=" + c.node.url, "PEER=" + c.peer, "USER=" + user, "PASSWORD=" + password, "GUILD=" + guild,
		"TOKEN=" + mint(t, jwt.MapClaims{"guilds": guilds{guild: 0}}),
	}
	return c
}

// run runs a script against the cluster and fails unless it exits with 0.
func (c adminCluster) run(t *testing.T, script string, env ...string) {
	t.Helper()
	if code := start(t, script, append(c.env, env...), nil, "node", script).wait(t); code != 0 {
		t.Errorf("%s: exit code %d", script, code)
	}
}

// TestAdminUI has a client do what the admin UI's page does, once read-only and once with its commands.
func TestAdminUI(t *testing.T) {
	beside(t)
	for name, env := range map[string][]string{
		"read-only": {},
		"write":     {"GUILDCAST_ADMIN_UI_WRITE=true"},
	} {
		t.Run(name, func(t *testing.T) {
			beside(t)
			c := startAdminCluster(t, env...)
			write := ""
			if len(env) > 0 {
				write = "WRITE=true"
			}
			c.run(t, "nodejs/adminui/session.mjs", write)
			c.node.drain(t)
		})
	}
}

// TestAdminUIPage has the official page, in a browser, look at a mixed cluster.
func TestAdminUIPage(t *testing.T) {
	beside(t)
	c := startAdminCluster(t, "GUILDCAST_ADMIN_UI_WRITE=true")
	c.run(t, "nodejs/adminui/page.mjs")
	c.node.drain(t)
}
