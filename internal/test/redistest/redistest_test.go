package redistest

import (
	"bufio"
	"context"
	"fmt"
	"net"
	"testing"

	goredis "github.com/redis/go-redis/v9"
)

func TestMain(m *testing.M) { Main(m) }

func TestEach(t *testing.T) {
	Each(t, func(t *testing.T, c goredis.UniversalClient) {
		ctx := context.Background()
		for i := range 20 {
			key := fmt.Sprint("key", i)
			if err := c.Set(ctx, key, i, 0).Err(); err != nil {
				t.Fatal(err)
			}
			if got, err := c.Get(ctx, key).Int(); err != nil || got != i {
				t.Fatalf("got %d, %v", got, err)
			}
		}
	})
}

// TestSharedIsEmpty expects nothing of a test in the next that gets its server, its clients included.
func TestSharedIsEmpty(t *testing.T) {
	ctx := context.Background()
	var addr string
	var subscriber *goredis.PubSub
	t.Run("first", func(t *testing.T) {
		s := Shared(t)
		addr = s.Addr()
		c := s.Client()
		if err := c.Set(ctx, "a", "b", 0).Err(); err != nil {
			t.Fatal(err)
		}
		other := s.newClient() // which this test forgets to close
		subscriber = other.Subscribe(ctx, "channel")
		if _, err := subscriber.Receive(ctx); err != nil {
			t.Fatal(err)
		}
		if own := Shared(t).Addr(); own == addr {
			t.Fatal("two tests have one server at the same time")
		}
	})
	defer subscriber.Close()
	t.Run("second", func(t *testing.T) {
		servers := map[string]*Server{}
		for range 2 {
			s := Shared(t)
			servers[s.Addr()] = s
		}
		s := servers[addr]
		if s == nil {
			t.Fatal("the server was not used again")
		}
		c := s.Client()
		if n, err := c.DBSize(ctx).Result(); n != 0 || err != nil {
			t.Fatalf("%d keys, %v", n, err)
		}
		if n, err := c.PubSubNumSub(ctx, "channel").Result(); n["channel"] != 0 || err != nil {
			t.Fatalf("%v subscribers, %v", n, err)
		}
	})
}

func TestServerComesBackOnItsPort(t *testing.T) {
	s := Start(t)
	c := s.Client()
	ctx := context.Background()
	if err := c.Set(ctx, "a", "b", 0).Err(); err != nil {
		t.Fatal(err)
	}
	s.Stop()
	if err := c.Ping(ctx).Err(); err == nil {
		t.Fatal("a stopped server answered")
	}
	s.Start()
	if n, err := c.Exists(ctx, "a").Result(); err != nil || n != 0 {
		t.Fatalf("after a loss: %d, %v", n, err)
	}
}

func TestSentinelKnowsThePrimary(t *testing.T) {
	primary := Start(t)
	sentinel := StartSentinel(t, primary)
	c := goredis.NewFailoverClient(&goredis.FailoverOptions{
		MasterName: "main", SentinelAddrs: []string{sentinel.Addr()},
	})
	defer c.Close()
	if err := c.Ping(context.Background()).Err(); err != nil {
		t.Fatal(err)
	}
}

func TestProxyCutsAndRefuses(t *testing.T) {
	p := NewProxy(t, Start(t).Addr())
	dial := func() *bufio.ReadWriter {
		c, err := net.Dial("tcp", p.Addr())
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = c.Close() })
		return bufio.NewReadWriter(bufio.NewReader(c), bufio.NewWriter(c))
	}
	ping := func(c *bufio.ReadWriter) error {
		_, _ = c.WriteString("PING\r\n")
		_ = c.Flush()
		_, err := c.ReadString('\n')
		return err
	}
	c := dial()
	if err := ping(c); err != nil {
		t.Fatal(err)
	}
	p.Cut()
	if ping(c) == nil {
		t.Fatal("a cut connection answered")
	}
	p.Refuse(true)
	if ping(dial()) == nil {
		t.Fatal("a refused connection answered")
	}
	p.Refuse(false)
	if err := ping(dial()); err != nil {
		t.Fatal(err)
	}
	if n := p.Accepted(); n != 2 {
		t.Fatalf("%d connections were forwarded", n)
	}
}
