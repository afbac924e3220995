package handlers

import (
	"fmt"
	"math/rand/v2"
	"runtime"
	"slices"
	"strconv"
	"testing"
	"testing/synctest"
	"time"

	"github.com/architus/guildcast/permissions"
)

// A revocation finds the sessions that it hits, whatever sessions came and went before.
func TestBearers(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	x := newBearers()
	one := func() string { return strconv.Itoa(rng.IntN(4)) }
	held := map[*bearer]*permissions.Claims{}
	for range 5000 {
		if rng.IntN(100) < 50 {
			c := &permissions.Claims{Subject: one()}
			if rng.IntN(3) > 0 {
				c.TokenID = one()
			}
			held[x.add(new(session), c)] = c
		} else {
			for b := range held { // any
				x.remove(b)
				delete(held, b)
				break
			}
		}
		r := permissions.Revocation{Subject: one()}
		if rng.IntN(2) == 0 {
			r.TokenID = one()
		}
		found := x.of(r)
		for b, c := range held {
			if r.Matches(c) && !slices.Contains(found, b.session) {
				t.Fatalf("%+v does not find %+v", r, c)
			}
		}
		if len(found) > len(held) {
			t.Fatal("what has gone is found")
		}
	}
	for b := range held {
		x.remove(b)
	}
	x.remove(nil)
	if len(x.lists[0])+len(x.lists[1]) > 0 {
		t.Error("lists are left")
	}
}

// elevate connects this many sockets, each of another user.
func (b *bench) elevate(n int) {
	now := time.Now()
	for i := range n {
		s := b.socket(strconv.Itoa(i))
		s.send("request_elevation", claims(strconv.Itoa(i), now, time.Hour, `{"7":6}`))
		b.take(s)
	}
}

// Each revocation listed and checked every socket of the node.
func TestRevocationCostsWhatItHits(t *testing.T) {
	b := newBench(t, Config{Limits: Limits{SocketRate: -1, UserRate: -1, AddressRate: -1}})
	b.elevate(5000)
	bytes := func(f func()) uint64 {
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		f()
		runtime.ReadMemStats(&after)
		return after.TotalAlloc - before.TotalAlloc
	}
	took := bytes(func() {
		for i := range 50 {
			b.g.Revoke(permissions.Revocation{TokenID: fmt.Sprint("none", i)})
		}
	})
	if took > 50*1000 {
		t.Errorf("50 revocations that hit nobody allocate %d bytes", took)
	}
}

// After a refresh, another user's token or a demotion, a revocation finds the token in force and no other.
func TestRevocationFindsTheTokenInForce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, Config{})
		s := b.socket("s")
		now := time.Now()
		token := func(sub string, after time.Duration) string {
			return claims(sub, now.Add(after), time.Hour, `{"7":6}`)
		}
		revoke := func(jti string) []string {
			b.take(s)
			b.g.Revoke(permissions.Revocation{TokenID: jti})
			synctest.Wait()
			return b.take(s)
		}
		jti := func(sub string, after time.Duration) string {
			return sub + strconv.FormatInt(now.Add(after).Unix(), 10)
		}
		s.send("request_elevation", token("1", 0))
		s.send("spectate", m{"guild_id": "7", "token": token("1", 0)})
		s.send("request_elevation", token("1", time.Second)) // a refresh
		wantNames(t, revoke(jti("1", 0)))
		if b.g.filter.Len() != 1 {
			t.Fatal("the revocation of an older token ended what a newer one allows")
		}
		s.send("request_elevation", token("2", 0))
		wantNames(t, revoke(jti("1", time.Second)))
		s.send("spectate", m{"guild_id": "7", "token": token("2", 0)})
		wantNames(t, revoke(jti("2", 0)), "elevation_expired")
		wantNames(t, revoke(jti("2", 0)))
		s.send("request_elevation", token("1", 0))
		s.close()
		if n := len(b.g.bearers.lists[0]) + len(b.g.bearers.lists[1]); n != 0 || b.g.filter.Len() != 0 {
			t.Errorf("%d lists are left", n)
		}
	})
}

// BenchmarkRevoke revokes somebody else's token, with 100,000 elevated sockets.
func BenchmarkRevoke(b *testing.B) {
	bench := newBench(b, Config{Limits: Limits{SocketRate: -1, UserRate: -1, AddressRate: -1}})
	bench.elevate(100_000)
	b.ReportAllocs()
	for b.Loop() {
		bench.g.Revoke(permissions.Revocation{Subject: "none"})
	}
}
