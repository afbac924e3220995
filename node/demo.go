package node

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"sync"
	"time"

	demoguild "github.com/architus/guildcast/internal/demo"
	"github.com/architus/guildcast/internal/mockbot"
	"github.com/architus/guildcast/redis/worker"
	"github.com/architus/guildcast/web"
)

// Demo adds a demo guild with live events, a worker that knows it, and a page that shows it.
type Demo struct {
	Members  int           // default 240
	Interval time.Duration // mean time between two events; default 300 ms

	// Mint makes a token for one of the demo's accounts, for the page. Required.
	Mint func(a demoguild.Account, life time.Duration) (token string, expires time.Time, err error)
}

// demo is the running demo.
type demo struct {
	node      *Node
	generator *demoguild.Generator
	worker    *worker.Worker
	page      http.Handler
}

// newDemo builds the demo; bot answers the worker's share of `interpret`.
func newDemo(n *Node, bot *mockbot.Bot) (*demo, error) {
	c := n.config.Demo
	if c.Mint == nil {
		return nil, errors.New("the demo can't mint tokens")
	}
	world := demoguild.NewWorld(demoguild.Config{Members: c.Members})
	accounts := map[string]demoguild.Account{}
	var shown []web.Account
	for _, a := range demoguild.Accounts() {
		accounts[a.Key] = a
		shown = append(shown, web.Account{Key: a.Key, Name: a.Name, Role: a.Role, UserID: a.UserID})
	}
	page, err := web.Handler(web.Config{
		GuildID: demoguild.GuildID, Accounts: shown, Logger: n.config.Logger,
		Mint: func(_ context.Context, a web.Account, life time.Duration) (string, time.Time, error) {
			return c.Mint(accounts[a.Key], life)
		},
	})
	if err != nil {
		return nil, fmt.Errorf("demo: %w", err)
	}
	generator := demoguild.NewGenerator(world, n.redis.Client, demoguild.GeneratorConfig{
		Interval: c.Interval, TopicPrefix: n.config.TopicPrefix, Logger: n.config.Logger,
	})
	services := []string{"interpret"}
	for shard := range n.config.Shards {
		services = append(services, fmt.Sprintf("pool:%d", shard))
	}
	answers := worker.New(n.redis.Client, demoguild.NewWorker(world, bot), worker.Options{
		Services: services, Name: "demo", Logger: n.config.Logger,
	})
	return &demo{node: n, generator: generator, worker: answers, page: page}, nil
}

// start runs the demo until ctx ends.
func (d *demo) start(ctx context.Context, running *sync.WaitGroup) {
	running.Go(func() {
		if err := d.generator.Run(ctx); err != nil {
			d.node.config.Logger.Error("demo guild stopped", "err", err)
		}
	})
	running.Go(func() {
		if err := d.worker.Run(ctx); err != nil {
			d.node.config.Logger.Error("demo worker stopped", "err", err)
		}
	})
}
