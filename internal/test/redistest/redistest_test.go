package redistest

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"testing"
	"time"

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

// proxied is a connection through a proxy.
type proxied struct {
	net.Conn
	*bufio.Reader
}

func (c proxied) Read(b []byte) (int, error) { return c.Reader.Read(b) }

func (c proxied) ping() error {
	_, _ = c.Write([]byte("PING\r\n"))
	_, err := c.ReadString('\n')
	return err
}

func dialProxy(t *testing.T, p *Proxy) proxied {
	t.Helper()
	c, err := net.Dial("tcp", p.Addr())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	return proxied{c, bufio.NewReader(c)}
}

func TestProxyCutsAndRefuses(t *testing.T) {
	p := NewProxy(t, Start(t).Addr())
	c := dialProxy(t, p)
	if err := c.ping(); err != nil {
		t.Fatal(err)
	}
	p.Cut()
	if c.ping() == nil {
		t.Fatal("a cut connection answered")
	}
	p.Refuse(true)
	if dialProxy(t, p).ping() == nil {
		t.Fatal("a refused connection answered")
	}
	p.Refuse(false)
	if err := dialProxy(t, p).ping(); err != nil {
		t.Fatal(err)
	}
	if n := p.Accepted(); n != 2 {
		t.Fatalf("%d connections were forwarded", n)
	}
}

func TestProxySpoils(t *testing.T) {
	const least = 200 * time.Millisecond
	server := Start(t)
	for name, spoil := range map[string]Spoil{
		"latency":       {Latency: least / 2, Jitter: time.Millisecond}, // there and back
		"low bandwidth": {Rate: 60},                                     // 6 bytes there, 7 back
	} {
		t.Run(name, func(t *testing.T) {
			p := NewProxy(t, server.Addr())
			c := dialProxy(t, p)
			if err := c.ping(); err != nil { // it is open already
				t.Fatal(err)
			}
			p.Spoil(spoil)
			begin := time.Now()
			if err := c.ping(); err != nil {
				t.Fatal(err)
			}
			if took := time.Since(begin); took < least {
				t.Errorf("answered after %v, want %v at least", took, least)
			}
			p.Spoil(Spoil{})
			if err := c.ping(); err != nil {
				t.Error(err)
			}
		})
	}
	t.Run("slow close", func(t *testing.T) {
		p := NewProxy(t, server.Addr())
		c := dialProxy(t, p)
		p.Spoil(Spoil{Closing: least})
		begin := time.Now()
		_, _ = c.Write([]byte("QUIT\r\n"))
		if _, err := io.ReadAll(c); err != nil {
			t.Error(err)
		}
		if took := time.Since(begin); took < least {
			t.Errorf("closed after %v, want %v at least", took, least)
		}
	})
}

// TestProxyForgets expects of half-open connections that bytes and closes are lost, and of later ones that they are
// well.
func TestProxyForgets(t *testing.T) {
	server := Start(t)
	count := func() int {
		list, err := server.Client().ClientList(context.Background()).Result()
		if err != nil {
			t.Fatal(err)
		}
		return strings.Count(list, "name=forgotten")
	}
	for _, lost := range []struct{ toTarget, toClient bool }{{true, false}, {false, true}, {true, true}} {
		t.Run(fmt.Sprintf("%+v", lost), func(t *testing.T) {
			p := NewProxy(t, server.Addr())
			c := dialProxy(t, p)
			_, _ = c.Write([]byte("CLIENT SETNAME forgotten\r\n"))
			if _, err := c.ReadString('\n'); err != nil {
				t.Fatal(err)
			}
			end := p.Forget(lost.toTarget, lost.toClient)
			_ = c.SetReadDeadline(time.Now().Add(100 * time.Millisecond))
			if err := c.ping(); !errors.Is(err, os.ErrDeadlineExceeded) {
				t.Errorf("a half-open connection answered: %v", err)
			}
			_ = c.Close()
			if err := dialProxy(t, p).ping(); err != nil {
				t.Error(err)
			}
			if n := count(); n != 1 {
				t.Errorf("the server has %d connections, want 1: it has heard of the close", n)
			}
			end()
			for deadline := time.Now().Add(startTimeout); count() > 0; {
				if time.Now().After(deadline) {
					t.Fatal("the server has not heard of the end")
				}
			}
		})
	}
}
