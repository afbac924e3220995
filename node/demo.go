package node

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/architus/guildcast/internal/botwire"
	demoguild "github.com/architus/guildcast/internal/demo"
	"github.com/architus/guildcast/internal/mockbot"
	"github.com/architus/guildcast/internal/redisurl"
	"github.com/architus/guildcast/web"
	"github.com/architus/guildcast/worker"
)

// Demo adds a demo guild with live events, a worker that knows it, and a page that shows it.
type Demo struct {
	Members  int           // default 240
	Interval time.Duration // mean time between two events; default 300 ms

	// Mint returns a token for one of the demo's accounts, for the page. Required.
	Mint func(a demoguild.Account, life time.Duration) (token string, expires time.Time, err error)

	// What outlives the node, so that another one can take its place and nothing is missed meanwhile: a guild that
	// somebody else keeps busy, and the Redis that it is in, which somebody else closes. Both are nil if the node is to
	// have its own, and keep the guild busy itself.
	World *demoguild.World
	Redis *redisurl.Connection

	// Restart is called when somebody asks the page to restart the node; nil if it can't be. It must not block.
	Restart func()
}

// demo is the running demo.
type demo struct {
	generator *demoguild.Generator // nil if somebody else has one
	page      http.Handler
}

// addDemo builds what the demo consists of. The worker comes with every embedded Redis too: nobody else is there to
// answer.
func (n *Node) addDemo(bot *mockbot.Bot) (err error) {
	c := n.config.Demo
	switch {
	case c != nil:
		world := c.World
		if world == nil {
			world = demoguild.NewWorld(demoguild.Config{Members: c.Members})
		}
		n.worker = newWorker(n, world, bot)
		n.demo, err = newDemo(n, world)
	case n.config.Redis == embeddedRedis:
		n.worker = newWorker(n, demoguild.NewWorld(demoguild.Config{}), bot)
	}
	return err
}

// newWorker builds the worker that knows the demo guilds; bot answers its share of `interpret`.
func newWorker(n *Node, world *demoguild.World, bot *mockbot.Bot) *worker.Worker {
	services := []string{botwire.ServiceInterpret}
	for shard := range n.config.Shards {
		services = append(services, botwire.ServicePool(shard))
	}
	return worker.New(n.redis.Client, demoguild.NewWorker(world, bot), worker.Options{
		Services: services, Name: "demo", Logger: n.config.Logger,
	})
}

func newDemo(n *Node, world *demoguild.World) (*demo, error) {
	c := n.config.Demo
	if c.Mint == nil {
		return nil, errors.New("the demo can't mint tokens")
	}
	accounts := map[string]demoguild.Account{}
	var shown []web.Account
	for _, a := range demoguild.Accounts() {
		accounts[a.Key] = a
		shown = append(shown, web.Account{Key: a.Key, Name: a.Name, Role: a.Role, UserID: a.UserID})
	}
	page, err := web.Handler(web.Config{
		GuildID: demoguild.GuildID, Path: n.config.Path, Accounts: shown, Logger: n.config.Logger,
		Mint: func(_ context.Context, a web.Account, life time.Duration) (string, time.Time, error) {
			return c.Mint(accounts[a.Key], life)
		},
		Restart: c.Restart,
	})
	if err != nil {
		return nil, fmt.Errorf("demo: %w", err)
	}
	if c.World != nil {
		return &demo{page: page}, nil
	}
	generator := demoguild.NewGenerator(world, n.redis.Client, demoguild.GeneratorConfig{
		Interval: c.Interval, TopicPrefix: n.config.TopicPrefix, Sharded: n.config.Topics == TopicsSharded,
		Logger: n.config.Logger,
	})
	return &demo{generator: generator, page: page}, nil
}
