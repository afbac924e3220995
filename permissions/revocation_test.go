package permissions_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/architus/guildcast/permissions"
)

func TestParseRevocation(t *testing.T) {
	for data, want := range map[string]permissions.Revocation{
		`{"sub":"1"}`:                       {Subject: "1", Expires: at(110)},
		`{"sub":214037134477230080}`:        {Subject: "214037134477230080", Expires: at(110)},
		`{"jti":"a"}`:                       {TokenID: "a", Expires: at(110)},
		`{"sub":"1","iat_before":50}`:       {Subject: "1", IssuedBefore: at(50), Expires: at(110)},
		`{"sub":"1","jti":"a","exp":130.5}`: {Subject: "1", TokenID: "a", Expires: time.UnixMilli(130_500)},
		`{"sub":"1","exp":1001.001}`:        {Subject: "1", Expires: time.UnixMilli(1_001_001)},
		// past: it was heard, and then let the token in again
		`{"sub":"1","exp":9}`:  {Subject: "1", Expires: at(110)},
		`{"sub":"1","exp":10}`: {Subject: "1", Expires: at(110)},
		// a member of the backend's own dropped it
		`{"sub":"1","reason":"spam"}`:        {Subject: "1", Expires: at(110)},
		`{"sub":"1","Jti":"x","by":{"a":1}}`: {Subject: "1", Expires: at(110)},
	} {
		got, err := permissions.ParseRevocation([]byte(data), at(10), 100*time.Second)
		if err != nil || got != want {
			t.Errorf("%s: %+v, %v", data, got, err)
		}
		again, err := json.Marshal(got)
		if err != nil {
			t.Fatal(err)
		}
		if back, err := permissions.ParseRevocation(again, at(99), time.Hour); err != nil || back != want {
			t.Errorf("%s came back as %+v, %v", again, back, err)
		}
	}
	for _, data := range []string{``, `null`, `"1"`, `{}`, `{"iat_before":5}`, `{"exp":5}`, `{"sub":""}`,
		`{"sub":null}`, `{"sub":{}}`, `{"jti":null}`,
		`{"sub":"1","iat_before":"5"}`, `{"sub":"1","iat_before":null}`, `{"sub":"1","sub":"2"}`, `{"sub":"1"}{}`} {
		if r, err := permissions.ParseRevocation([]byte(data), at(10), time.Second); err == nil {
			t.Errorf("%s: %+v", data, r)
		}
	}
}

func TestRevocations(t *testing.T) {
	var s permissions.Revocations
	claims := mustClaims(t, `{"sub":"a","jti":"1","iat":100}`)
	noIssue := mustClaims(t, `{"sub":"a"}`)
	if s.Revoked(claims, at(0)) || (*permissions.Revocations)(nil).Revoked(claims, at(0)) {
		t.Error("revoked by nothing")
	}
	s.Add(permissions.Revocation{}, at(0))
	s.Add(permissions.Revocation{Expires: at(900)}, at(0))
	s.Add(permissions.Revocation{Subject: "b", Expires: at(900)}, at(0))
	s.Add(permissions.Revocation{Subject: "b", TokenID: "1", Expires: at(900)}, at(0))
	s.Add(permissions.Revocation{Subject: "a", IssuedBefore: at(100), Expires: at(900)}, at(0))
	if s.Revoked(claims, at(1)) {
		t.Error("revoked by what is about other tokens")
	}
	if !s.Revoked(noIssue, at(1)) {
		t.Error("a token that does not say when it was issued survives iat_before")
	}
	s.Add(permissions.Revocation{Subject: "a", IssuedBefore: at(101), Expires: at(500)}, at(0))
	if !s.Revoked(claims, at(499)) || s.Revoked(claims, at(500)) {
		t.Error("a revocation must hold until it expires")
	}
	s.Add(permissions.Revocation{Subject: "a", IssuedBefore: at(101), Expires: at(700)}, at(0))
	s.Add(permissions.Revocation{Subject: "a", IssuedBefore: at(101), Expires: at(600)}, at(0))
	if !s.Revoked(claims, at(699)) {
		t.Error("of two expiries the later must count")
	}
	if s.Len() != 4 {
		t.Errorf("%d are held", s.Len())
	}
}

// At the bound one more forgot all that shared the earliest expiry: 50 of 50 banned users got in again.
func TestRevocationsForgetNothingInForce(t *testing.T) {
	s := permissions.Revocations{Max: 100}
	for i := range 50 {
		for _, r := range []permissions.Revocation{
			{Subject: fmt.Sprint(i), Expires: at(9000)}, {TokenID: fmt.Sprint(i), Expires: at(5000)},
		} {
			if added, err := s.Add(r, at(0)); !added || err != nil {
				t.Fatalf("one below the bound: %v, %v", added, err)
			}
			if added, err := s.Add(r, at(0)); added || err != nil {
				t.Fatalf("one that is held: %v, %v", added, err)
			}
		}
	}
	other := mustClaims(t, `{"sub":"other"}`)
	if s.Revoked(other, at(1)) || s.Incomplete(at(1)) {
		t.Error("a full set that is complete refuses others")
	}
	if _, err := s.Add(permissions.Revocation{Subject: "one more", Expires: at(7000)}, at(1)); !errors.Is(err,
		permissions.ErrTooManyRevocations) {
		t.Errorf("one beyond the bound: %v", err)
	}
	if added, err := s.Add(permissions.Revocation{Subject: "7", Expires: at(9500)}, at(1)); !added || err != nil {
		t.Errorf("one that is held can't be extended: %v", err)
	}
	for i := range 50 {
		for _, c := range []string{`{"sub":"%d"}`, `{"sub":"x","jti":"%d"}`} {
			if revoked, sure := s.Look(mustClaims(t, fmt.Sprintf(c, i)), at(2)); !revoked || !sure {
				t.Errorf(c+" was forgotten", i)
			}
		}
	}
	if revoked, sure := s.Look(other, at(2)); revoked || sure || !s.Revoked(other, at(2)) || !s.Incomplete(at(2)) {
		t.Error("an incomplete set is sure")
	}
	if s.Revoked(other, at(7000)) || s.Incomplete(at(7000)) {
		t.Error("incomplete after the last that did not fit has expired")
	}
	for range 2 {
		s.Add(permissions.Revocation{Subject: "late", Expires: at(19000)}, at(10000))
	}
	if s.Len() != 1 {
		t.Errorf("%d are held after all but one have expired", s.Len())
	}
}

// Batches yields what was added, as long as it is in force.
func TestRevocationsBatches(t *testing.T) {
	var s permissions.Revocations
	want := map[permissions.Revocation]bool{}
	for i := range 2500 {
		id := fmt.Sprint(i)
		for _, r := range []permissions.Revocation{
			{Subject: id, Expires: at(900)}, {TokenID: id, Expires: at(int64(1000 + i))},
			{Subject: id, TokenID: id, Expires: at(900)},
			{Subject: "before", IssuedBefore: at(int64(9000 - i)), Expires: at(int64(1000 + i))},
		} {
			s.Add(r, at(0))
			want[r] = true
		}
	}
	s.Add(permissions.Revocation{Subject: "old", Expires: at(5)}, at(0))
	if s.Len() != len(want)+1 {
		t.Fatalf("%d are held", s.Len())
	}
	s.Batches(at(5), func(batch []permissions.Revocation) bool {
		for _, r := range batch {
			if !want[r] {
				t.Fatalf("%+v came twice, or was never added", r)
			}
			delete(want, r)
		}
		return true
	})
	if len(want) > 0 {
		t.Errorf("%d were left out", len(want))
	}
}

// Whatever is added when, the set answers as a list of all that was ever added would.
func TestRevocationsAreLikeAList(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 4))
	var s permissions.Revocations
	var list []permissions.Revocation
	ids := []string{
		"", "1", "2", "03", "18446744073709551615", "18446744073709551616", "x", strings.Repeat("long", 50), "s1",
		"b\x01",
	}
	one := func() string { return ids[r.IntN(len(ids))] }
	now := at(1000)
	for range 20_000 {
		now = now.Add(time.Duration(r.IntN(3000)) * time.Millisecond)
		fresh := permissions.Revocation{Subject: one(), Expires: now.Add(time.Duration(r.IntN(600)-20) * time.Second)}
		if r.IntN(2) == 0 {
			fresh.TokenID = one()
		}
		if r.IntN(2) == 0 {
			fresh.IssuedBefore = now.Add(time.Duration(r.IntN(200)-100) * time.Second)
		}
		if _, err := s.Add(fresh, now); err != nil {
			t.Fatal(err)
		}
		list = append(slices.DeleteFunc(list, func(r permissions.Revocation) bool {
			return !now.Before(r.Expires)
		}), fresh)
		c := &permissions.Claims{Subject: one(), TokenID: one()}
		if r.IntN(4) > 0 {
			c.IssuedAt = now.Add(time.Duration(r.IntN(200)-100) * time.Second)
		}
		want := slices.ContainsFunc(list, func(r permissions.Revocation) bool {
			return now.Before(r.Expires) && r.Matches(c)
		})
		if revoked, sure := s.Look(c, now); revoked != want || !sure {
			t.Fatalf("%+v at %v: %v, want %v", c, now, revoked, want)
		}
	}
	// What the batches hold is the same.
	var again permissions.Revocations
	s.Batches(now, func(batch []permissions.Revocation) bool {
		for _, r := range batch {
			again.Add(r, now)
		}
		return true
	})
	for range 20_000 {
		c := &permissions.Claims{
			Subject: one(), TokenID: one(), IssuedAt: now.Add(time.Duration(r.IntN(200)-100) * time.Second),
		}
		if a, b := s.Revoked(c, now), again.Revoked(c, now); a != b {
			t.Fatalf("%+v: %v, and %v by what the batches held", c, a, b)
		}
	}
}

// kinds are revocations by what they name.
var kinds = map[string]func(i int64) permissions.Revocation{
	"users": func(i int64) permissions.Revocation {
		return permissions.Revocation{Subject: strconv.FormatInt(214037134477230080+i, 10)}
	},
	"tokens": func(i int64) permissions.Revocation {
		return permissions.Revocation{TokenID: fmt.Sprintf("%08x-93a2-4c11-8f6e-%012x", i, i)}
	},
	"issued": func(i int64) permissions.Revocation {
		return permissions.Revocation{Subject: strconv.FormatInt(214037134477230080+i, 10), IssuedBefore: at(i)}
	},
}

// add fills s, and returns how many bytes each takes.
func add(s *permissions.Revocations, n int64, kind func(int64) permissions.Revocation) float64 {
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	for i := range n {
		r := kind(i)
		r.Expires = at(90_000 + i%2_592_000)
		s.Add(r, at(0))
	}
	runtime.GC()
	runtime.ReadMemStats(&after)
	return float64(after.HeapAlloc-before.HeapAlloc) / float64(n)
}

// A million take 64 MiB at most (57 measured) if they name users, and none is forgotten. They took 122.
func TestAMillionRevocations(t *testing.T) {
	if testing.Short() {
		t.Skip("takes seconds")
	}
	const million = 1_000_000
	var s permissions.Revocations
	if took := add(&s, million, kinds["users"]); took > 64<<20/million {
		t.Errorf("each takes %.0f bytes", took)
	}
	if s.Len() != million || !s.Revoked(mustClaims(t, `{"sub":"214037134477230080"}`), at(1)) {
		t.Errorf("%d are held", s.Len())
	}
	runtime.KeepAlive(&s)
}

func BenchmarkRevocationsAdd(b *testing.B) {
	for name, kind := range kinds {
		b.Run(name, func(b *testing.B) {
			var each float64
			for b.Loop() {
				var s permissions.Revocations
				each = add(&s, 1_000_000, kind)
				runtime.KeepAlive(&s)
			}
			b.ReportMetric(each, "B/revocation")
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/1e6, "ns/revocation")
		})
	}
}

func BenchmarkRevocationsLook(b *testing.B) {
	var s permissions.Revocations
	add(&s, 1_000_000, kinds["users"])
	c := &permissions.Claims{
		Subject: "114037134477230080", TokenID: "d0a7d4c8-93a2-4c11-8f6e-0123456789ab", IssuedAt: at(5),
	}
	b.ReportAllocs()
	for b.Loop() {
		if s.Revoked(c, at(1)) {
			b.Fatal("revoked")
		}
	}
}

func FuzzParseRevocation(f *testing.F) {
	f.Add([]byte(`{"sub":"1","jti":"a","iat_before":50,"exp":1e3}`))
	f.Add([]byte(`{"sub":"1","iat_before":1.0011,"exp":1.0031}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		r, err := permissions.ParseRevocation(data, at(10), time.Hour)
		if err != nil {
			return
		}
		again, err := json.Marshal(r)
		if err != nil {
			t.Fatal(err)
		}
		if back, err := permissions.ParseRevocation(again, at(10), time.Minute); err != nil || back != r {
			t.Fatalf("%s came back from %s as %+v, %v; was %+v", data, again, back, err, r)
		}
	})
}
