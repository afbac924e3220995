package redis

import (
	"context"
	"errors"
	"fmt"
	"testing"

	goredis "github.com/redis/go-redis/v9"

	"github.com/architus/guildcast/internal/test/redistest"
)

func TestEntities(t *testing.T) {
	redistest.Each(t, func(t *testing.T, client goredis.UniversalClient) {
		const n = 3500
		var pairs []any
		ids := []string{"nobody"}
		for i := range n {
			pairs = append(pairs, fmt.Sprint(i), fmt.Sprintf(`{"id":"%d"}`, i))
			ids = append(ids, fmt.Sprint(i))
		}
		ctx := within(t)
		const key = "guildcast:pool:{12}:member"
		must(t, client.HSet(ctx, key, pairs...).Err())
		must(t, client.HSet(ctx, key, "bad", "{", "list", "[]", "empty", "").Err())
		must(t, client.HSet(ctx, "guildcast:pool:{global}:user", "1", `{"id":"1","username":"x"}`).Err())

		e := NewEntities(client, nil)
		values, err := e.Get(ctx, "12", "member", append(ids, "bad", "list", "empty"))
		must(t, err)
		for i, v := range values {
			want := ""
			if i > 0 && i <= n {
				want = fmt.Sprintf(`{"id":"%d"}`, i-1)
			}
			if string(v) != want {
				t.Fatalf("value %d is %q, not %q", i, v, want)
			}
		}
		if s := e.Stats(); s != (EntitiesStats{Hits: n, Misses: 1, Invalid: 3}) {
			t.Errorf("stats %+v", s)
		}
		if values, err = e.Get(ctx, "", "user", []string{"1"}); err != nil || len(values) != 1 || values[0] == nil {
			t.Errorf("global: %q, %v", values, err)
		}
		if values, err = e.Get(ctx, "12", "member", nil); err != nil || len(values) != 0 {
			t.Errorf("no ids: %q, %v", values, err)
		}
		testAll(t, e, n)
	})
}

func testAll(t *testing.T, e *Entities, n int) {
	got := map[string]string{}
	must(t, e.All(within(t), "12", "member", func(ids []string, values [][]byte) error {
		if len(ids) != len(values) || len(ids) == 0 {
			t.Errorf("a portion of %d ids and %d values", len(ids), len(values))
		}
		for i, id := range ids {
			got[id] = string(values[i])
		}
		return nil
	}))
	if len(got) != n {
		t.Errorf("%d entities, not %d", len(got), n)
	}
	for id, v := range got {
		if v != fmt.Sprintf(`{"id":"%s"}`, id) {
			t.Fatalf("%s is %s", id, v)
		}
	}
	enough, calls := errors.New("enough"), 0
	stop := func([]string, [][]byte) error { calls++; return enough }
	if err := e.All(within(t), "12", "member", stop); err != enough || calls != 1 {
		t.Errorf("%d calls, %v", calls, err)
	}
	must(t, e.All(within(t), "13", "member", func([]string, [][]byte) error { t.Error("yielded"); return nil }))
}

// Ids that a backend has stored as numbers are returned as strings.
func TestEntitiesHaveStringIDs(t *testing.T) {
	redistest.Each(t, func(t *testing.T, client goredis.UniversalClient) {
		ctx := within(t)
		must(t, client.HSet(ctx, "guildcast:pool:{12}:role", "214037134477230080",
			`{"id":214037134477230080,"position":3,"members":[9007199254740993,"7"]}`).Err())
		const want = `{"id":"214037134477230080","position":3,"members":["9007199254740993","7"]}`

		e := NewEntities(client, nil)
		values, err := e.Get(ctx, "12", "role", []string{"214037134477230080"})
		must(t, err)
		if len(values) != 1 || string(values[0]) != want {
			t.Errorf("get: %q", values)
		}
		must(t, e.All(ctx, "12", "role", func(_ []string, values [][]byte) error {
			if len(values) != 1 || string(values[0]) != want {
				t.Errorf("all: %q", values)
			}
			return nil
		}))
	})
}

func TestOnline(t *testing.T) {
	redistest.Each(t, func(t *testing.T, client goredis.UniversalClient) {
		var want []any
		for i := range 2500 {
			want = append(want, fmt.Sprint(i))
		}
		must(t, client.SAdd(within(t), "guildcast:online:{5}", append(want, "no id")...).Err())
		e := NewEntities(client, nil)
		seen := map[string]bool{}
		for cursor := uint64(0); ; {
			ids, next, err := e.Online(within(t), "5", cursor)
			must(t, err)
			for _, id := range ids {
				seen[id] = true
			}
			if cursor = next; cursor == 0 {
				break
			}
		}
		if len(seen) != 2500 || seen["no id"] {
			t.Errorf("%d ids", len(seen))
		}
		if ids, next, err := e.Online(within(t), "6", 0); err != nil || len(ids) != 0 || next != 0 {
			t.Errorf("%d ids, cursor %d, %v", len(ids), next, err)
		}
	})
}

func TestEntitiesRefuse(t *testing.T) {
	_, client := redistest.Mini(t)
	e := NewEntities(client, nil)
	for _, p := range []struct{ guild, kind string }{
		{"x", "member"}, {"1}:x", "member"}, {"1", ""}, {"1", "Member"}, {"1", "x:y"},
	} {
		if _, err := e.Get(within(t), p.guild, p.kind, []string{"1"}); err == nil {
			t.Errorf("get of %v", p)
		}
		if err := e.All(within(t), p.guild, p.kind, nil); err == nil {
			t.Errorf("all of %v", p)
		}
	}
	if _, _, err := e.Online(within(t), "", 0); err == nil {
		t.Error("online of no guild")
	}
}

func TestEntitiesWithoutRedis(t *testing.T) {
	m, client := redistest.Mini(t)
	m.Close()
	e := NewEntities(client, nil)
	_, err := e.Get(within(t), "1", "member", []string{"1"})
	if !errors.Is(err, ErrUnavailable) {
		t.Errorf("get: %v", err)
	}
	if err := e.All(within(t), "1", "member", nil); !errors.Is(err, ErrUnavailable) {
		t.Errorf("all: %v", err)
	}
	if _, _, err := e.Online(within(t), "1", 0); !errors.Is(err, ErrUnavailable) {
		t.Errorf("online: %v", err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if _, err := e.Get(ctx, "1", "member", []string{"1"}); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
	if s := e.Stats(); s.Errors != 4 {
		t.Errorf("stats %+v", s)
	}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
