package main

import (
	"crypto/rand"
	"fmt"
	"io"
	"time"

	"github.com/architus/guildcast/internal/demo"
	"github.com/architus/guildcast/node"
	"github.com/architus/guildcast/token"
)

// demoTokenLife is how long the printed tokens are good.
const demoTokenLife = 24 * time.Hour

// demoSecret returns a random secret of the demo's own. The demo's page hands out tokens to anybody: signed with a
// secret that is shared with the API they would be good on every node, and wherever else that secret is known. They are
// good for the demo guilds only, since the node may have others.
func demoSecret() token.Secret {
	return token.Secret{KeyID: "demo-" + rand.Text(), Key: []byte(rand.Text() + rand.Text()), Guilds: demo.Guilds()}
}

// demoMint returns a function that mints tokens for the accounts of the demo, such that they pass what c demands.
func demoMint(c *node.Config, own token.Secret) func(demo.Account, time.Duration) (string, time.Time, error) {
	return func(a demo.Account, life time.Duration) (string, time.Time, error) {
		now := time.Now()
		expires := now.Add(life).Truncate(time.Second)
		claims := map[string]any{
			"sub": a.UserID, "permissions": a.Permissions, "guilds": a.Guilds, "iat": now.Unix(), "exp": expires.Unix(),
		}
		if a.ArchitusAdmin {
			claims["architus_admin"] = true
		}
		for name, value := range map[string]string{"iss": c.JWTIssuer, "aud": first(c.JWTAudience)} {
			if value != "" {
				claims[name] = value
			}
		}
		signed, err := token.Sign(own, claims)
		return signed, expires, err
	}
}

// printDemo prints how to see the demo. The tokens are those of a member, a log viewer and an administrator.
func printDemo(w io.Writer, c *node.Config, i node.Info) {
	fmt.Fprintf(w, "\nguildcast demo: open %s\n", i.URL)
	if i.Redis != "" {
		fmt.Fprintf(w, "Redis for emitters and redis-cli: redis://%s\n", i.Redis)
	}
	fmt.Fprintf(w, "guild: %s\n\n", demo.GuildID)
	for _, a := range demo.Accounts() {
		token, _, err := c.Demo.Mint(a, demoTokenLife)
		if err != nil {
			fmt.Fprintf(w, "no token of %s: %v\n", a.Name, err)
			continue
		}
		fmt.Fprintf(w, "token of %s, %s:\n%s\n\n", a.Name, a.Role, token)
	}
}

func first(list []string) string {
	if len(list) == 0 {
		return ""
	}
	return list[0]
}
