package node_test

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"github.com/architus/guildcast/internal/test/redistest"
	"github.com/architus/guildcast/internal/test/sioclient"
	"github.com/architus/guildcast/node"
	"github.com/architus/guildcast/worker"
)

// thinking is a bot's backend that answers nobody before it may.
type thinking struct {
	asked  chan struct{} // receives a value for each request
	answer chan struct{} // closed when it may answer
}

func (b thinking) Handle(ctx context.Context, _ string, _ []byte, reply func([]byte, bool) error) error {
	b.asked <- struct{}{}
	select {
	case <-b.answer:
		return reply([]byte(`{"nonexistant":[],"data":[]}`), false)
	case <-ctx.Done():
		return ctx.Err()
	}
}

// A client whose request was in progress at a drain was closed in its turn, and had no answer. Clients that wait for
// nothing are closed one after the other meanwhile.
func TestDrainAnswersRequests(t *testing.T) {
	const idle = 6
	server := redistest.Start(t)
	backend := thinking{asked: make(chan struct{}, 10), answer: make(chan struct{})}
	working := make(chan error, 1)
	ctx, cancel := context.WithCancel(context.Background())
	go func() { working <- worker.New(server.Client(), backend, worker.Options{}).Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-working; err != nil {
			t.Error(err)
		}
	})
	r := run(t, node.Config{Redis: server.URL(), Grace: time.Minute, RequestTimeout: time.Minute})
	r.waitReady(t, 200)
	token := mint(t, jwt.SigningMethodHS256, []byte(secret), 0)
	var asking, others []*sioclient.Client
	for i := range idle + 2 {
		c := r.connect(t, token)
		c.Expect("request_elevation_return")
		if i%4 != 0 {
			others = append(others, c)
			continue
		}
		c.Emit("pool", map[string]any{"type": "member", "guild_id": guild, "ids": []string{"7"}, "token": token})
		asking = append(asking, c)
	}
	<-backend.asked
	began, stopped := time.Now(), make(chan error, 1)
	go func() { stopped <- r.stop() }()
	for _, c := range others {
		c.Gone()
	}
	if took := time.Since(began); took < time.Second {
		t.Errorf("%d clients were closed in %v", idle, took)
	}
	close(backend.answer)
	for _, c := range asking {
		if got := string(c.Expect("pool_response").Arg()); !strings.Contains(got, `"finished":true`) {
			t.Errorf("the answer is %s", got)
		}
		c.Gone()
	}
	if err := <-stopped; err != nil {
		t.Error(err)
	}
	if took := time.Since(began); took > 40*time.Second {
		t.Errorf("the drain took %v of a minute, though all clients had left", took)
	}
}

// A drain closes the clients spread over its grace.
func TestDrainSpreads(t *testing.T) {
	const clients = 200
	r := run(t, node.Config{Grace: 3 * time.Second})
	r.waitReady(t, 200)
	cs, err := sioclient.DialMany(r.addr, clients, func(int) sioclient.Options { return sioclient.Options{} })
	if err != nil {
		t.Fatal(err)
	}
	defer sioclient.CloseAll(cs)
	ends := make(chan time.Time, clients)
	for _, c := range cs {
		go func() { <-c.Done(); ends <- time.Now() }()
	}
	stopped := make(chan error, 1)
	began := time.Now()
	go func() { stopped <- r.stop() }()
	closed := make([]time.Duration, clients)
	for i := range closed {
		closed[i] = (<-ends).Sub(began)
	}
	if err := <-stopped; err != nil {
		t.Error(err)
	}
	// They can only be late.
	first, half, last := closed[0], closed[clients/2], closed[clients-1]
	if half < 800*time.Millisecond || last < 1800*time.Millisecond {
		t.Errorf("closed: the first after %v, half after %v, the last after %v", first, half, last)
	}
}
