package redis

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"testing"
	"time"

	goredis "github.com/redis/go-redis/v9"

	"github.com/architus/guildcast/internal/test/redistest"
	"github.com/architus/guildcast/internal/test/wait"
)

const poolStream = "guildcast:requests:pool:0"

// foreign is a worker of somebody else. Its parts name no worker.
type foreign struct {
	t      *testing.T
	client goredis.UniversalClient
	name   string
}

// foreigners returns the workers of one group.
func foreigners(t *testing.T, client goredis.UniversalClient, names ...string) (list []*foreign) {
	t.Helper()
	must(t, client.XGroupCreateMkStream(within(t), poolStream, "theirs", "0").Err())
	for _, n := range names {
		list = append(list, &foreign{t, client, n})
	}
	return list
}

// read waits for a request of its own.
func (w *foreign) read() goredis.XMessage {
	w.t.Helper()
	res, err := w.client.XReadGroup(within(w.t), &goredis.XReadGroupArgs{
		Group: "theirs", Consumer: w.name, Streams: []string{poolStream, ">"}, Count: 1, Block: patience,
	}).Result()
	must(w.t, err)
	return res[0].Messages[0]
}

// claim takes over requests that have been idle for a while, if there are any.
func (w *foreign) claim(idle time.Duration) (list []goredis.XMessage) {
	w.t.Helper()
	list, _, err := w.client.XAutoClaim(within(w.t), &goredis.XAutoClaimArgs{
		Stream: poolStream, Group: "theirs", Consumer: w.name, MinIdle: idle, Start: "0",
	}).Result()
	must(w.t, err)
	return list
}

// say publishes a part.
func (w *foreign) say(m goredis.XMessage, result string, more bool) {
	w.t.Helper()
	body, err := json.Marshal(map[string]any{"id": m.Values["id"], "ok": true, "result": result, "more": more})
	must(w.t, err)
	to := m.Values["reply_to"].(string)
	if cluster, ok := w.client.(*goredis.ClusterClient); ok { // all parts to one server, so that none overtakes another
		server, err := cluster.MasterForKey(within(w.t), to)
		must(w.t, err)
		must(w.t, server.Publish(within(w.t), to, body).Err())
		return
	}
	must(w.t, w.client.Publish(within(w.t), to, body).Err())
}

// idle returns how long a request has been idle.
func (w *foreign) idle(m goredis.XMessage) time.Duration {
	w.t.Helper()
	list, err := w.client.XPendingExt(within(w.t), &goredis.XPendingExtArgs{
		Stream: poolStream, Group: "theirs", Start: m.ID, End: m.ID, Count: 1,
	}).Result()
	must(w.t, err)
	return list[0].Idle
}

func (w *foreign) ack(m goredis.XMessage) {
	w.t.Helper()
	must(w.t, w.client.XAck(within(w.t), poolStream, "theirs", m.ID).Err())
}

// asked is a request in progress.
func asked(t *testing.T, r *Requests) (answer func() (string, error)) {
	t.Helper()
	type outcome struct {
		answer string
		err    error
	}
	done := make(chan outcome, 1)
	go func() {
		got, err := do(t, r, "1", "all", `{}`)
		done <- outcome{got, err}
	}()
	return func() (string, error) {
		select {
		case o := <-done:
			return o.answer, o.err
		case <-within(t).Done():
			t.Fatal("no answer")
			return "", nil
		}
	}
}

// A worker dies in the middle of an answer. Its parts can't be told from those of its successor.
func TestUnmarkedWorkerDies(t *testing.T) {
	redistest.Each(t, func(t *testing.T, client goredis.UniversalClient) {
		r := newRequests(t, client, RequestsOptions{Timeout: patience})
		r.silence = 200 * time.Millisecond
		ws := foreigners(t, client, "doomed", "heir")
		answer := asked(t, r)
		first := ws[0].read()
		ws[0].say(first, "stale 0", true)
		second := ws[1].read() // no claim is needed: the node asks again
		if first.Values["id"] == second.Values["id"] {
			t.Error("asked again under the same id")
		}
		if left := ws[1].claim(0); len(left) > 1 { // the second one itself may be among them
			t.Errorf("the first request can still be claimed: %v", left)
		}
		ws[1].say(second, "new 0", true)
		ws[0].say(first, "stale 1", false) // it was not dead
		ws[1].say(second, "new 1", false)
		if got, err := answer(); err != nil || got != `"new 0" "new 1"` {
			t.Errorf("got %s, %v", got, err)
		}
	})
}

// Two workers have a request before either has replied.
func TestUnmarkedWorkersAtTheSameTime(t *testing.T) {
	redistest.Each(t, func(t *testing.T, client goredis.UniversalClient) {
		r := newRequests(t, client, RequestsOptions{Timeout: patience})
		r.claimAfter, r.silence = 300*time.Millisecond, patience
		ws := foreigners(t, client, "slow", "heir")
		answer := asked(t, r)
		first := ws[0].read()
		wait.Until(t, "claimed", func() bool { return len(ws[1].claim(r.claimAfter)) > 0 })
		ws[0].say(first, "a 0", true)
		ws[1].say(first, "b 0", true)
		ws[0].say(first, "a 1", true)
		ws[1].say(first, "b 1", false)
		second := ws[0].read()
		if first.Values["id"] == second.Values["id"] {
			t.Error("asked again under the same id")
		}
		ws[0].say(first, "a 2", false)
		ws[0].say(second, "c 0", true)
		ws[0].say(second, "c 1", false)
		if got, err := answer(); err != nil || got != `"c 0" "c 1"` {
			t.Errorf("got %s, %v", got, err)
		}
	})
}

// A slow worker that is alone is asked once.
func TestUnmarkedWorkerIsSlow(t *testing.T) {
	redistest.Each(t, func(t *testing.T, client goredis.UniversalClient) {
		r := newRequests(t, client, RequestsOptions{Timeout: patience})
		r.claimAfter, r.silence = 300*time.Millisecond, patience
		ws := foreigners(t, client, "slow")
		for _, early := range []bool{true, false} {
			answer := asked(t, r)
			m := ws[0].read()
			if !early { // so late that another might have claimed it
				wait.Until(t, "time has passed", func() bool { return ws[0].idle(m) > r.claimAfter })
			}
			ws[0].say(m, "0", true)
			ws[0].say(m, "1", true)
			ws[0].say(m, "2", false)
			ws[0].ack(m)
			if got, err := answer(); err != nil || got != `"0" "1" "2"` {
				t.Errorf("got %s, %v", got, err)
			}
		}
		if s := r.Stats(); s.Sent != 2 || s.Answered != 2 {
			t.Errorf("stats %+v", s)
		}
	})
}

// A caller that gives up, or runs out of time, in the middle of an answer gets its context's error or ErrTimeout.
func TestUnmarkedWorkerStops(t *testing.T) {
	_, client := redistest.Mini(t)
	short := newRequests(t, client, RequestsOptions{Timeout: time.Second})
	ws := foreigners(t, client, "only")
	answer := asked(t, short)
	ws[0].say(ws[0].read(), "0", true)
	if _, err := answer(); !errors.Is(err, ErrTimeout) {
		t.Errorf("no more parts: %v", err)
	}
	if s := short.Stats(); s.Timeouts != 1 || s.InFlight != 0 || s.Bytes != 0 {
		t.Errorf("stats %+v", s)
	}
	r := newRequests(t, client, RequestsOptions{Timeout: patience})
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- r.Do(ctx, "1", "all", []byte("{}"), nil) }()
	ws[0].say(ws[0].read(), "0", true)
	cancel()
	if err := <-done; !errors.Is(err, context.Canceled) {
		t.Errorf("gave up: %v", err)
	}
	if s := r.Stats(); s.Cancelled != 1 || s.InFlight != 0 || s.Bytes != 0 {
		t.Errorf("stats %s", fmt.Sprintf("%+v", s))
	}
}
