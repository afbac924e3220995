package redistest

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"testing"
	"time"

	goredis "github.com/redis/go-redis/v9"
)

// Cluster is a Redis Cluster of three primaries without replicas, every slot covered.
type Cluster struct {
	Servers []*Server

	tb testing.TB
}

const primaries = 3

var clusterOptions = []string{
	"--cluster-enabled", "yes", "--cluster-node-timeout", "2000", "--cluster-require-full-coverage", "no",
}

// StartCluster runs three servers, joins them, and waits until each of them says that the cluster is ok.
func StartCluster(tb testing.TB) *Cluster {
	tb.Helper()
	return startCluster(tb, func() *Server { return Start(tb, clusterOptions...) })
}

func startCluster(tb testing.TB, start func() *Server) *Cluster {
	tb.Helper()
	const slots = 16384
	c := &Cluster{tb: tb}
	for range primaries {
		c.Servers = append(c.Servers, start())
	}
	ctx, cancel := context.WithTimeout(context.Background(), startTimeout)
	defer cancel()
	for i, s := range c.Servers {
		client := s.newClient()
		defer client.Close()
		first, last := i*slots/primaries, (i+1)*slots/primaries-1
		if err := client.ClusterAddSlotsRange(ctx, first, last).Err(); err != nil {
			tb.Fatalf("give slots to %s: %v", s.Addr(), err)
		}
		for _, other := range c.Servers[:i] {
			host, port, _ := net.SplitHostPort(other.Addr())
			if err := client.ClusterMeet(ctx, host, port).Err(); err != nil {
				tb.Fatalf("join %s to %s: %v", s.Addr(), other.Addr(), err)
			}
		}
	}
	for _, s := range c.Servers {
		client := s.newClient()
		defer client.Close()
		if err := poll(startTimeout, s.exited, func(ctx context.Context) error {
			return clusterOK(ctx, client, primaries)
		}); err != nil {
			tb.Fatalf("cluster: %v", err)
		}
	}
	return c
}

func clusterOK(ctx context.Context, c *goredis.Client, primaries int) error {
	info, err := c.ClusterInfo(ctx).Result()
	if err != nil {
		return err
	}
	for _, want := range []string{
		"cluster_state:ok", "cluster_slots_ok:16384",
		fmt.Sprintf("cluster_known_nodes:%d", primaries), fmt.Sprintf("cluster_size:%d", primaries),
	} {
		if !strings.Contains(info, want) {
			return errors.New("no " + want)
		}
	}
	return nil
}

// Addrs are the host:port of each primary.
func (c *Cluster) Addrs() []string {
	addrs := make([]string, len(c.Servers))
	for i, s := range c.Servers {
		addrs[i] = s.Addr()
	}
	return addrs
}

// URL is the cluster's redis+cluster:// URL.
func (c *Cluster) URL() string { return "redis+cluster://" + strings.Join(c.Addrs(), ",") }

// Client is a new client of the cluster, closed when the test ends.
func (c *Cluster) Client() *goredis.ClusterClient {
	client := goredis.NewClusterClient(&goredis.ClusterOptions{
		Addrs: c.Addrs(), DialTimeout: time.Second, ContextTimeoutEnabled: true,
	})
	c.tb.Cleanup(func() { _ = client.Close() })
	return client
}
