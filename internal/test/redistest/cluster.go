package redistest

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"
	"testing"
	"time"

	goredis "github.com/redis/go-redis/v9"
)

// Cluster is a Redis Cluster of three primaries, every slot covered.
type Cluster struct {
	Servers []*Server
	// Replicas are as many as Servers, in their order, or none.
	Replicas []*Server

	tb testing.TB
}

const primaries = 3

var clusterOptions = []string{
	"--cluster-enabled", "yes", "--cluster-node-timeout", "2000", "--cluster-require-full-coverage", "no",
}

// StartCluster runs three servers, joins them, and waits until each of them says that the cluster is ok. args are
// further options of each.
func StartCluster(tb testing.TB, args ...string) *Cluster {
	tb.Helper()
	return startCluster(tb, clusterServer(tb, args))
}

// clusterServer starts a server of a cluster that is not joined yet.
func clusterServer(tb testing.TB, args []string) func() *Server {
	return func() *Server { return Start(tb, slices.Concat(clusterOptions, args)...) }
}

// StartReplicatedCluster is StartCluster with a replica of each primary.
func StartReplicatedCluster(tb testing.TB, args ...string) *Cluster {
	tb.Helper()
	start := func() *Server {
		return Start(tb, append(clusterOptions[:len(clusterOptions):len(clusterOptions)], args...)...)
	}
	c := startCluster(tb, start)
	for range c.Servers {
		c.Replicas = append(c.Replicas, start())
	}
	ctx, cancel := context.WithTimeout(context.Background(), startTimeout)
	defer cancel()
	for i, s := range c.Replicas {
		replica, primary := s.newClient(), c.Servers[i].newClient()
		defer replica.Close()
		defer primary.Close()
		host, port, _ := net.SplitHostPort(c.Servers[i].Addr())
		if err := replica.ClusterMeet(ctx, host, port).Err(); err != nil {
			tb.Fatalf("join %s: %v", s.Addr(), err)
		}
		id, err := primary.Do(ctx, "cluster", "myid").Text()
		if err != nil {
			tb.Fatal(err)
		}
		if err := poll(startTimeout, s.exited, func(ctx context.Context) error {
			return replica.ClusterReplicate(ctx, id).Err()
		}); err != nil {
			tb.Fatalf("replicate to %s: %v", s.Addr(), err)
		}
	}
	for _, s := range append(c.Servers, c.Replicas...) {
		client := s.newClient()
		defer client.Close()
		if err := poll(startTimeout, s.exited, func(ctx context.Context) error {
			return replicated(ctx, client)
		}); err != nil {
			tb.Fatalf("cluster: %v", err)
		}
	}
	return c
}

// replicated reports why c does not know a replica of each primary, or does not replicate, if so.
func replicated(ctx context.Context, c *goredis.Client) error {
	// Raw: go-redis can't read a layout without hosts.
	ranges, err := c.Do(ctx, "cluster", "slots").Slice()
	if err != nil {
		return err
	}
	if len(ranges) != primaries {
		return fmt.Errorf("%d ranges of slots", len(ranges))
	}
	for _, r := range ranges {
		if r := r.([]any); len(r) != 4 { // first, last, and two servers
			return fmt.Errorf("%d servers have slot %d", len(r)-2, r[0])
		}
	}
	info, err := c.Info(ctx, "replication").Result()
	if err == nil && !strings.Contains(info, "master_link_status:up") && !strings.Contains(info, "state=online") {
		err = errors.New("not replicated")
	}
	return err
}

// Failover makes the replica of primary i the primary, as an operator does, and waits until it is.
func (c *Cluster) Failover(i int) {
	c.tb.Helper()
	client := c.Replicas[i].newClient()
	defer client.Close()
	err := poll(startTimeout, c.Replicas[i].exited, func(ctx context.Context) error {
		role, err := client.Do(ctx, "role").Slice()
		if err != nil || role[0] == "master" {
			return err
		}
		if err := client.Do(ctx, "cluster", "failover").Err(); err != nil {
			return err
		}
		return errors.New("still a replica")
	})
	if err != nil {
		c.tb.Fatalf("failover to %s: %v", c.Replicas[i].Addr(), err)
	}
	c.Servers[i], c.Replicas[i] = c.Replicas[i], c.Servers[i]
}

// MoveSlot moves the slot of key, with the keys in it, from its primary to another one, as redis-cli --cluster reshard
// does. It waits until all servers agree.
func (c *Cluster) MoveSlot(key string) {
	c.tb.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), startTimeout)
	defer cancel()
	must := func(err error) {
		c.tb.Helper()
		if err != nil {
			c.tb.Fatalf("move the slot of %s: %v", key, err)
		}
	}
	clients, ids := make([]*goredis.Client, len(c.Servers)), make([]string, len(c.Servers))
	for i, s := range c.Servers {
		clients[i] = s.newClient()
		defer clients[i].Close()
		id, err := clients[i].Do(ctx, "cluster", "myid").Text()
		must(err)
		ids[i] = id
	}
	slot, err := clients[0].ClusterKeySlot(ctx, key).Result()
	must(err)
	owner, err := c.Client().MasterForKey(ctx, key)
	must(err)
	source := slices.Index(c.Addrs(), owner.Options().Addr)
	target := (source + 1) % len(c.Servers)
	must(clients[target].Do(ctx, "cluster", "setslot", slot, "importing", ids[source]).Err())
	must(clients[source].Do(ctx, "cluster", "setslot", slot, "migrating", ids[target]).Err())
	host, port, _ := net.SplitHostPort(c.Servers[target].Addr())
	keys, err := clients[source].ClusterGetKeysInSlot(ctx, int(slot), 1000).Result()
	must(err)
	for _, k := range keys {
		must(clients[source].Migrate(ctx, host, port, k, 0, startTimeout).Err())
	}
	order := []int{target, source}
	for i := range clients {
		if !slices.Contains(order, i) {
			order = append(order, i)
		}
	}
	for _, i := range order {
		must(clients[i].Do(ctx, "cluster", "setslot", slot, "node", ids[target]).Err())
	}
	// Before the next move the servers must agree on the epoch: a server that has not heard of this one would take the
	// slot with an old epoch, and the two would send everybody to each other for ever.
	must(poll(startTimeout, c.Servers[target].exited, func(ctx context.Context) error {
		epochs := map[string]bool{}
		for _, client := range clients {
			info, err := client.ClusterInfo(ctx).Result()
			if err != nil {
				return err
			}
			_, rest, _ := strings.Cut(info, "cluster_current_epoch:")
			epoch, _, _ := strings.Cut(rest, "\r\n")
			epochs[epoch] = true
		}
		if len(epochs) > 1 {
			return errors.New("the servers disagree on the epoch")
		}
		return nil
	}))
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
