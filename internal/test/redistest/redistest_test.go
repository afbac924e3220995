package redistest

import (
	"bufio"
	"context"
	"fmt"
	"net"
	"testing"

	goredis "github.com/redis/go-redis/v9"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

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
