package redis

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	goredis "github.com/redis/go-redis/v9"

	"github.com/architus/guildcast/bus"
	"github.com/architus/guildcast/internal/test/redistest"
)

// applied is what the Apply of a node has got.
type applied struct {
	mu    sync.Mutex
	subs  map[string]int
	until map[string]time.Time
}

// apply does what package permissions does, for "sub" alone.
func (a *applied) apply(message []byte) (time.Time, error) {
	var m struct {
		Sub string
		Exp float64
	}
	if err := json.Unmarshal(message, &m); err != nil {
		return time.Time{}, err
	}
	if m.Sub == "" {
		return time.Time{}, errors.New("no sub")
	}
	expires := time.Now().Add(time.Hour)
	if m.Exp > 0 {
		expires = time.UnixMilli(int64(m.Exp * 1000))
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.subs == nil {
		a.subs, a.until = map[string]int{}, map[string]time.Time{}
	}
	a.subs[m.Sub]++
	a.until[m.Sub] = expires
	return expires, nil
}

func (a *applied) times(sub string) int {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.subs[sub]
}

func newRevocations(t *testing.T, client goredis.UniversalClient, most int) (*Revocations, *applied) {
	t.Helper()
	a := &applied{}
	r := NewRevocations(client, newBus(t, client), RevocationsOptions{Apply: a.apply, Max: most})
	t.Cleanup(r.Close)
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
		eventually(t, "both nodes", func() bool { return a1.times("1") == 1 && a2.times("1") == 1 })
		must(t, client.Publish(within(t), revokeChannel, `{ "iat_before": 5, "sub": "2", "exp": 99999999999 }`).Err())
		_, err := Revoke(within(t), client, []byte(`{"sub":"3"}`), time.Now().Add(time.Hour))
		must(t, err)
		eventually(t, "both nodes", func() bool { // a cluster may deliver them in any order
			return a1.times("3") >= 1 && a2.times("3") == 1 && a1.times("2") == 1 && a2.times("2") == 1
		})
		eventually(t, "stored", func() bool { return stored(r1)() && stored(r2)() })
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
		must(t, r3.Load(within(t)))
		if s := r3.Stats(); a3.times("1") != 1 || s.Known != 3 || s.Unstored != 0 {
			t.Errorf("loaded twice: %v, %+v", a3.subs, s)
		}
	})
}

// A revocation that nobody hears is in force on a node that is started afterwards.
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
	bad := []string{"", "x", "null", "[]", "{}", `{"exp":1}`, `{"jti":"1"}`, `{"sub":"` + strings.Repeat("x", maxRevocation) + `"}`}
	for _, s := range bad {
		must(t, client.Publish(within(t), revokeChannel, s).Err())
		if strings.Contains(s, "jti") {
			continue // Revoke leaves it to nodes what a revocation says
		}
		if _, err := Revoke(within(t), client, []byte(s), time.Now().Add(time.Hour)); err == nil || errors.Is(err, ErrUnavailable) {
			t.Errorf("%.20s: %v", s, err)
		}
	}
	must(t, client.Publish(within(t), revokeChannel, `{"sub":"old","exp":1000}`).Err())
	eventually(t, "the last is heard", func() bool { return a.times("old") == 1 })
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
	eventually(t, "stored by the other node", func() bool { return r1.Stats().Known == 1 && stored(r1)() })
	proxy.Refuse(false)
	eventually(t, "read again", func() bool { return a2.times("missed") == 1 })

	// Redis itself forgets everything: it is told again.
	server.Stop()
	server.Start()
	eventually(t, "stored again", func() bool { return direct.ZCard(within(t), revocationsKey).Val() == 1 })
	eventually(t, "nothing is left to do", func() bool { return stored(r1)() && stored(r2)() })
}

func TestRevocationsAreStoredLater(t *testing.T) {
	server := redistest.Start(t)
	client := server.Client()
	r, _ := newRevocations(t, client, 0)
	server.Stop()
	r.handle(bus.Message{Payload: []byte(`{"sub":"1"}`)}) // the last that was heard
	if _, err := Revoke(within(t), client, []byte(`{"sub":"2"}`), time.Now().Add(time.Hour)); !errors.Is(err, ErrUnavailable) {
		t.Errorf("revoke without Redis: %v", err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 50*time.Millisecond)
	defer cancel()
	fresh := NewRevocations(client, newBus(t, client), RevocationsOptions{Apply: (&applied{}).apply})
	t.Cleanup(fresh.Close)
	if err := fresh.Load(ctx); !errors.Is(err, ErrUnavailable) {
		t.Errorf("load without Redis: %v", err)
	}
	server.Start()
	eventually(t, "stored", func() bool { return client.ZCard(within(t), revocationsKey).Val() == 1 })
	must(t, fresh.Load(within(t)))
}

func TestRevocationsAreBounded(t *testing.T) {
	_, client := redistest.Mini(t)
	r, _ := newRevocations(t, client, 10)
	now := time.Now()
	for i := range 30 {
		r.handle(bus.Message{Payload: fmt.Appendf(nil, `{"sub":"%d","exp":%d}`, i, now.Add(time.Duration(i+1)*time.Hour).Unix())})
	}
	eventually(t, "stored", stored(r))
	if s, n := r.Stats(), client.ZCard(within(t), revocationsKey).Val(); s.Known != 10 || n != 10 {
		t.Errorf("stats %+v, %d stored", s, n)
	}
	if got := client.ZRange(within(t), revocationsKey, 0, 0).Val(); len(got) != 1 || got[0] != `{"sub":"20"}` {
		t.Errorf("the first to expire is %v", got)
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

// TestRevocationsWithoutEnd: a score of +inf, or one beyond what a date holds, was skipped, and the user let in.
func TestRevocationsWithoutEnd(t *testing.T) {
	redistest.Each(t, func(t *testing.T, client goredis.UniversalClient) {
		must(t, client.Do(within(t), "ZADD", revocationsKey, "+inf", `{"sub":"1"}`, "9.1e15", `{"sub":"2"}`, "1e300", `{"sub":"3"}`).Err())
		_, a := newRevocations(t, client, 0)
		for _, sub := range []string{"1", "2", "3"} {
			if a.times(sub) != 1 || a.until[sub].Year() != 9999 {
				t.Errorf("%s was applied %d times, until %v", sub, a.times(sub), a.until[sub])
			}
		}
	})
}
