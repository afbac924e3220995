package main

import (
	"context"
	"crypto/rand"
	"fmt"
	"io"
	"sync"
	"time"

	"github.com/architus/guildcast/internal/demo"
	"github.com/architus/guildcast/internal/redisurl"
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

// runDemo has one node after the other run, each until the page asks for a restart, and the last until ctx ends. Redis
// and the guild outlive them, so that things happen while there is no node, as in a cluster.
func runDemo(ctx context.Context, c *node.Config, one func(context.Context) error) error {
	conn, err := redisurl.Connect(c.Redis)
	if err != nil {
		return usageError{&node.OptionError{Option: "redis", Err: err}}
	}
	defer conn.Close()
	world := demo.NewWorld(demo.Config{Members: c.Demo.Members})
	restart := make(chan struct{}, 1)
	c.Demo.World, c.Demo.Redis = world, conn
	c.Demo.Restart = func() {
		select {
		case restart <- struct{}{}:
		default: // it is asked for already
		}
	}
	generator := demo.NewGenerator(world, conn.Client, demo.GeneratorConfig{
		Interval: c.Demo.Interval, TopicPrefix: c.TopicPrefix, Sharded: c.Topics == node.TopicsSharded,
		Logger: c.Logger,
	})
	var running sync.WaitGroup
	defer running.Wait()
	busy, stop := context.WithCancel(context.WithoutCancel(ctx))
	defer stop()
	var once sync.Once
	listening := c.Listening
	c.Listening = func(i node.Info) {
		once.Do(func() { // the node could start: only now are things to happen, and only once is it announced
			listening(i)
			running.Go(func() {
				if err := generator.Run(busy); err != nil {
					c.Logger.Error("the demo guild has stopped", "err", err)
				}
			})
		})
	}
	for {
		again, err := untilRestart(ctx, restart, one)
		if err != nil || !again {
			return err
		}
		c.Logger.Info("node is restarted by the demo page")
	}
}

// untilRestart runs one node, and reports whether it ended because of a restart.
func untilRestart(
	ctx context.Context, restart <-chan struct{}, one func(context.Context) error,
) (again bool, err error) {
	ctx, end := context.WithCancel(ctx)
	var waiting sync.WaitGroup
	waiting.Go(func() {
		select {
		case <-restart:
			again = true
			end()
		case <-ctx.Done():
		}
	})
	err = one(ctx)
	end()
	waiting.Wait()
	return again, err
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
