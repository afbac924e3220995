package history_test

import (
	"slices"
	"testing"
	"time"

	goredis "github.com/redis/go-redis/v9"

	"github.com/architus/guildcast/event"
	"github.com/architus/guildcast/history"
	"github.com/architus/guildcast/internal/botwire"
	"github.com/architus/guildcast/internal/test/redistest"
	"github.com/architus/guildcast/internal/test/wait"
)

// A publisher in a cluster goes on with the server that takes the place of the one that it has published to.
func TestPublisherAfterAFailover(t *testing.T) {
	t.Parallel()
	c := redistest.StartReplicatedCluster(t)
	client := goredis.NewClusterClient(&goredis.ClusterOptions{
		Addrs: c.Addrs(), DialTimeout: time.Second, ContextTimeoutEnabled: true,
		ClusterStateReloadInterval: time.Hour, // it doesn't find out by itself
	})
	t.Cleanup(func() { client.Close() })
	publisher := history.NewPublisher(client, history.PublisherOptions{})
	publish := func() error {
		_, err := publisher.Publish(t.Context(), event.Topic{Guild: "1"}, []byte(`{"kind":"guild","payload":{}}`))
		return err
	}
	if err := publish(); err != nil {
		t.Fatal(err)
	}
	owner, err := client.MasterForKey(t.Context(), botwire.HistoryKey("1"))
	if err != nil {
		t.Fatal(err)
	}
	c.Servers[slices.Index(c.Addrs(), owner.Options().Addr)].Stop()
	wait.Until(t, "the replica to take events", func() bool { return publish() == nil })
}
