package worker

import (
	"fmt"
	"testing"
	"time"

	goredis "github.com/redis/go-redis/v9"

	"github.com/architus/guildcast/internal/test/redistest"
)

// A worker takes over a dead worker's request even if the node has withdrawn others before it. Redis before 7 keeps
// withdrawn entries pending and returns nil for them.
func TestTakesOverBehindDeletedEntries(t *testing.T) {
	m, client := redistest.Mini(t)
	redistest.Before7(t, m)
	ctx := within(t)
	if err := client.XGroupCreateMkStream(ctx, stream, "workers", "0").Err(); err != nil {
		t.Fatal(err)
	}
	const withdrawn = 40
	var ids []string
	for i := range withdrawn + 1 {
		ids = append(ids, client.XAdd(ctx, &goredis.XAddArgs{Stream: stream, Values: []string{
			"id", "i", "method", "echo", "args", fmt.Sprint(i), "reply_to", "reply",
			"deadline", fmt.Sprint(time.Now().Add(patience).UnixMilli()),
		}}).Val())
	}
	if err := client.XReadGroup(ctx, &goredis.XReadGroupArgs{
		Group: "workers", Consumer: "dead", Streams: []string{stream, ">"}, Count: withdrawn + 1,
	}).Err(); err != nil {
		t.Fatal(err)
	}
	if n := client.XDel(ctx, stream, ids[:withdrawn]...).Val(); n != withdrawn {
		t.Fatalf("%d are deleted", n)
	}
	f := newFixture(t, client, Options{ClaimAfter: 100 * time.Millisecond})
	if a := f.receive(); string(a.Result) != fmt.Sprint(withdrawn) {
		t.Errorf("got %+v", a)
	}
	f.settled() // the others, too
	if s := f.worker.Stats(); s.Claimed != 1 || s.Answered != 1 {
		t.Errorf("stats %+v", s)
	}
}
