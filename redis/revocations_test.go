package redis

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"math"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	goredis "github.com/redis/go-redis/v9"

	"github.com/architus/guildcast/bus"
	"github.com/architus/guildcast/internal/test/lifecycle"
	"github.com/architus/guildcast/internal/test/redistest"
	"github.com/architus/guildcast/internal/test/wait"
)

// applied records the calls of one node's Apply.
type applied struct {
	mu    sync.Mutex
	subs  map[string]int // how often it was fresh
	until map[string]time.Time
	recs  map[string]string
}

// apply does what package permissions does, for "sub" alone. It stores "iat_before" as well.
func (a *applied) apply(message []byte) (Revocation, bool, error) {
	var m struct {
		Sub    string  `json:"sub"`
		Before float64 `json:"iat_before,omitempty"`
		Exp    float64 `json:"exp,omitempty"`
	}
	if err := json.Unmarshal(message, &m); err != nil {
		return Revocation{}, false, err
	}
	if m.Sub == "" {
		return Revocation{}, false, errors.New("no sub")
	}
	expires := time.UnixMilli(time.Now().Add(time.Hour).UnixMilli())
	if m.Exp > 0 {
		expires = time.UnixMilli(int64(math.Round(m.Exp * 1000)))
	}
	m.Exp = 0
	record, err := json.Marshal(m)
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.subs == nil {
		a.subs, a.until, a.recs = map[string]int{}, map[string]time.Time{}, map[string]string{}
	}
	fresh := expires.After(a.until[m.Sub])
	if fresh {
		a.subs[m.Sub]++
		a.until[m.Sub], a.recs[m.Sub] = expires, string(record)
	}
	return Revocation{Record: string(record), Expires: expires}, fresh, err
}

// known yields what was applied, one revocation at a time.
func (a *applied) known(yield func([]Revocation) bool) {
	a.mu.Lock()
	until, records := maps.Clone(a.until), maps.Clone(a.recs)
	a.mu.Unlock()
	for sub, expires := range until {
		if !yield([]Revocation{{Record: records[sub], Expires: expires}}) {
			return
		}
	}
}

func (a *applied) times(sub string) int {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.subs[sub]
}

func newRevocations(t *testing.T, client goredis.UniversalClient, reread time.Duration) (*Revocations, *applied) {
	t.Helper()
	a := &applied{}
	r := NewRevocations(client, newBus(t, client), RevocationsOptions{Apply: a.apply, Known: a.known, Reread: reread})
	lifecycle.Start(t, r.Run)
	must(t, r.Load(within(t)))
	return r, a
}

func stored(r *Revocations) func() bool {
	return func() bool { s := r.Stats(); return s.Unstored == 0 }
}

func TestRevocations(t *testing.T) {
	redistest.Each(t, func(t *testing.T, client goredis.UniversalClient) {
		r1, a1 := newRevocations(t, client, 0)
		r2, a2 := newRevocations(t, client, 0)
		must(t, client.Publish(within(t), revokeChannel, `{"sub":"1"}`).Err())
		wait.Until(t, "both nodes", func() bool { return a1.times("1") == 1 && a2.times("1") == 1 })
		must(t, client.Publish(within(t), revokeChannel, `{ "iat_before": 5, "sub": "2", "exp": 99999999999 }`).Err())
		_, err := Revoke(within(t), client, []byte(`{"sub":"3"}`), time.Now().Add(time.Hour))
		must(t, err)
		wait.Until(t, "both nodes", func() bool { // a cluster may deliver them in any order
			return a1.times("3") >= 1 && a2.times("3") == 1 && a1.times("2") == 1 && a2.times("2") == 1
		})
		wait.Until(t, "stored", func() bool { return stored(r1)() && stored(r2)() })
		if n := client.ZCard(within(t), revocationsKey).Val(); n != 3 {
			t.Errorf("%d are stored: %v", n, client.ZRangeWithScores(within(t), revocationsKey, 0, -1).Val())
		}

		// A node that is started later knows them, and for as long.
		r3, a3 := newRevocations(t, client, 0)
		if a3.times("1") != 1 || a3.times("2") != 1 || a3.times("3") != 1 || r3.Stats().Loaded != 3 {
			t.Errorf("loaded %v, stats %+v", a3.subs, r3.Stats())
		}
		if got := a3.until["2"].Unix(); got != 99999999999 {
			t.Errorf("expires at %d", got)
		}
		if left := time.Until(a3.until["1"]); left > time.Hour || left < 59*time.Minute {
			t.Errorf("expires in %v", left)
		}
		must(t, r3.reread(within(t)))
		if s := r3.Stats(); a3.times("1") != 1 || s.Loaded != 3 || s.Restored+uint64(s.Unstored) != 0 {
			t.Errorf("loaded twice: %v, %+v", a3.subs, s)
		}
	})
}

// A revocation that nobody heard is in force on a node that is started later.
func TestRevokeWhileNoNodeRuns(t *testing.T) {
	redistest.Each(t, func(t *testing.T, client goredis.UniversalClient) {
		until := time.Now().Add(time.Hour).Truncate(time.Millisecond)
		heard, err := Revoke(within(t), client, []byte(`{"sub":"1"}`), until)
		must(t, err)
		r, a := newRevocations(t, client, 0)
		if heard != 0 || a.times("1") != 1 || !a.until["1"].Equal(until) || r.Stats().Loaded != 1 {
			t.Errorf("heard by %d; loaded %v until %v", heard, a.subs, a.until)
		}
	})
}

func TestRevocationsRefuse(t *testing.T) {
	_, client := redistest.Mini(t)
	r, a := newRevocations(t, client, 0)
	bad := []string{
		"", "x", "null", "[]", "{}", `{"exp":1}`, `{"jti":"1"}`, `{"sub":"` + strings.Repeat("x", maxRevocation) + `"}`,
	}
	for _, s := range bad {
		must(t, client.Publish(within(t), revokeChannel, s).Err())
		if strings.Contains(s, "jti") {
			continue // Revoke leaves it to nodes what a revocation says
		}
		_, err := Revoke(within(t), client, []byte(s), time.Now().Add(time.Hour))
		if err == nil || errors.Is(err, ErrUnavailable) {
			t.Errorf("%.20s: %v", s, err)
		}
	}
	must(t, client.Publish(within(t), revokeChannel, `{"sub":"last"}`).Err())
	wait.Until(t, "the last is heard", func() bool { return a.times("last") == 1 })
	wait.Until(t, "stored", stored(r))
	if s := r.Stats(); s != (RevocationsStats{Heard: uint64(len(bad)) + 1, Malformed: uint64(len(bad))}) {
		t.Errorf("stats %+v", s)
	}
}

func TestRevocationsAfterALoss(t *testing.T) {
	server := redistest.Start(t)
	proxy := redistest.NewProxy(t, server.Addr())
	direct, cut := server.Client(), goredis.NewClient(&goredis.Options{Addr: proxy.Addr(), MaxRetries: -1})
	t.Cleanup(func() { _ = cut.Close() })
	r1, _ := newRevocations(t, direct, 0)
	r2, a2 := newRevocations(t, cut, 0)
	proxy.Refuse(true)
	proxy.Cut()
	must(t, direct.Publish(within(t), revokeChannel, `{"sub":"missed"}`).Err())
	wait.Until(t, "stored by the other node", func() bool { return r1.Stats().Heard == 1 && stored(r1)() })
	proxy.Refuse(false)
	wait.Until(t, "read again", func() bool { return a2.times("missed") == 1 })

	// Redis itself forgets everything: it is told again.
	server.Stop()
	server.Start()
	wait.Until(t, "stored again", func() bool { return direct.ZCard(within(t), revocationsKey).Val() == 1 })
	wait.Until(t, "nothing is left to do", func() bool { return stored(r1)() && stored(r2)() })
}

func TestRevocationsAreStoredLater(t *testing.T) {
	server := redistest.Start(t)
	client := server.Client()
	r, _ := newRevocations(t, client, 0)
	server.Stop()
	r.handle(bus.Message{Payload: []byte(`{"sub":"1"}`)}) // the last that was heard
	_, err := Revoke(within(t), client, []byte(`{"sub":"2"}`), time.Now().Add(time.Hour))
	if !errors.Is(err, ErrUnavailable) {
		t.Errorf("revoke without Redis: %v", err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 50*time.Millisecond)
	defer cancel()
	fresh := NewRevocations(client, newBus(t, client), RevocationsOptions{Apply: (&applied{}).apply})
	lifecycle.Start(t, fresh.Run)
	if err := fresh.Load(ctx); !errors.Is(err, ErrUnavailable) {
		t.Errorf("load without Redis: %v", err)
	}
	server.Start()
	wait.Until(t, "stored", func() bool { return client.ZCard(within(t), revocationsKey).Val() == 1 })
	must(t, fresh.Load(within(t)))
}

// A node that started while Redis came back empty accepted a revoked token for as long as it ran. The older node may
// store what was lost before the new one reads, or after.
func TestRevocationsThatRedisLost(t *testing.T) {
	redistest.Each(t, func(t *testing.T, client goredis.UniversalClient) {
		older, known := newRevocations(t, client, time.Hour)
		older.handle(bus.Message{Payload: []byte(`{"sub":"1"}`)})
		wait.Until(t, "stored", stored(older))
		must(t, client.Del(within(t), revocationsKey).Err())
		before, a := newRevocations(t, client, time.Hour)
		if a.times("1") != 0 {
			t.Fatal("Redis has lost nothing")
		}
		must(t, older.reread(within(t)))
		wait.Until(t, "published again", func() bool { return a.times("1") == 1 })
		_, b := newRevocations(t, client, time.Hour)
		if b.times("1") != 1 || known.times("1") != 1 || older.Stats().Restored != 1 {
			t.Errorf("loaded %d times, known %d times, stats %+v", b.times("1"), known.times("1"), older.Stats())
		}
		must(t, older.reread(within(t)))
		must(t, before.reread(within(t)))
		if older.Stats().Restored != 1 || before.Stats().Restored != 0 {
			t.Errorf("what is stored was restored: %+v, %+v", older.Stats(), before.Stats())
		}
	})
}

// Rereads notice revocations that were only stored, and those that Redis has lost, though no connection was lost.
func TestRevocationsAreReadNowAndThen(t *testing.T) {
	redistest.Each(t, func(t *testing.T, client goredis.UniversalClient) {
		_, a := newRevocations(t, client, 20*time.Millisecond)
		must(t, client.ZAdd(within(t), revocationsKey, goredis.Z{
			Score: float64(time.Now().Add(time.Hour).UnixMilli()), Member: `{ "reason": "spam", "sub": "1" }`,
		}).Err())
		wait.Until(t, "read", func() bool { return a.times("1") == 1 })
		must(t, client.Del(within(t), revocationsKey).Err())
		wait.Until(t, "stored again", func() bool { return client.ZCard(within(t), revocationsKey).Val() == 1 })
	})
}

// No revocation in force is removed from Redis for want of room, and writing one logs nothing.
func TestRevocationsAreNotForgotten(t *testing.T) {
	server := redistest.Start(t)
	client := server.Client()
	const stored, heard = 150_000, 60
	expires := float64(time.Now().Add(time.Hour).UnixMilli())
	var members []goredis.Z
	for i := range stored {
		members = append(members, goredis.Z{Score: expires, Member: fmt.Sprintf(`{"sub":"%d"}`, i)})
	}
	for chunk := range slices.Chunk(members, 10_000) {
		must(t, client.ZAdd(within(t), revocationsKey, chunk...).Err())
	}
	var logged bytes.Buffer
	a := &applied{}
	r := NewRevocations(client, newBus(t, client), RevocationsOptions{
		Apply: a.apply, Logger: slog.New(slog.NewTextHandler(&logged, nil)),
	})
	stop := lifecycle.Start(t, r.Run)
	ctx, cancel := context.WithTimeout(t.Context(), 5*patience) // under the race detector a busy machine takes one
	defer cancel()
	must(t, r.Load(ctx))
	for i := range heard {
		r.handle(bus.Message{Payload: fmt.Appendf(nil, `{"sub":"%d"}`, stored+i)})
	}
	wait.Until(t, "stored", func() bool { return r.Stats().Unstored == 0 })
	stop()
	if n := client.ZCard(within(t), revocationsKey).Val(); n != stored+heard || r.Stats().Loaded != stored {
		t.Errorf("%d are stored, stats %+v", n, r.Stats())
	}
	if logged.Len() > 0 {
		t.Errorf("logged %.300s", logged.String())
	}
}

func FuzzCanonical(f *testing.F) {
	f.Add([]byte(`{"sub":"1","exp":5}`))
	f.Add([]byte(`{"sub":1,"a":{"b":[1,2]}}`))
	f.Fuzz(func(t *testing.T, message []byte) {
		record, err := canonical(message)
		if err != nil {
			return
		}
		stored := withExpiry(record, time.UnixMilli(1234567))
		if len(stored) > maxRevocation {
			return // escapes and the expiry have made it longer
		}
		again, err := canonical(stored)
		if err != nil || again != record {
			t.Fatalf("%s became %s, %v", record, again, err)
		}
	})
}

// A score of +inf, or one beyond what a date holds, was skipped, and the user let in.
func TestRevocationsWithoutEnd(t *testing.T) {
	redistest.Each(t, func(t *testing.T, client goredis.UniversalClient) {
		must(t, client.Do(within(t), "ZADD", revocationsKey,
			"+inf", `{"sub":"1"}`, "9.1e15", `{"sub":"2"}`, "1e300", `{"sub":"3"}`).Err())
		_, a := newRevocations(t, client, 0)
		for _, sub := range []string{"1", "2", "3"} {
			if a.times(sub) != 1 || a.until[sub].Year() != 9999 {
				t.Errorf("%s was applied %d times, until %v", sub, a.times(sub), a.until[sub])
			}
		}
	})
}
