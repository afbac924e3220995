package permissions_test

import (
	"encoding/json"
	"fmt"
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
		`{"sub":"1","exp":1.001}`:           {Subject: "1", Expires: time.UnixMilli(1_001)}, // times 1000 it is just below 1001
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
	for _, data := range []string{``, `null`, `"1"`, `{}`, `{"iat_before":5}`, `{"exp":5}`, `{"sub":""}`, `{"sub":null}`, `{"sub":{}}`, `{"jti":null}`,
		`{"sub":"1","iat_before":"5"}`, `{"sub":"1","iat_before":null}`, `{"sub":"1","Jti":"x"}`, `{"sub":"1","sub":"2"}`, `{"sub":"1"}{}`} {
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

func TestRevocationsAreBounded(t *testing.T) {
	s := permissions.Revocations{Max: 10}
	for i := range 100 {
		s.Add(permissions.Revocation{TokenID: fmt.Sprint(i), Expires: at(int64(1000 + i))}, at(0))
		s.Add(permissions.Revocation{Subject: fmt.Sprint(i), Expires: at(int64(5000 + i))}, at(0))
		if s.Len() > 10 {
			t.Fatalf("%d are held", s.Len())
		}
	}
	if s.Revoked(mustClaims(t, `{"sub":"x","jti":"99"}`), at(1)) || !s.Revoked(mustClaims(t, `{"sub":"99"}`), at(1)) {
		t.Error("not the ones that expire first were forgotten")
	}
	s.Add(permissions.Revocation{Subject: "late", Expires: at(9000)}, at(6000))
	if s.Len() != 1 {
		t.Errorf("%d are held after all but one have expired", s.Len())
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
		if back, err := permissions.ParseRevocation(again, at(20), time.Minute); err != nil || back != r {
			t.Fatalf("%s came back from %s as %+v, %v; was %+v", data, again, back, err, r)
		}
	})
}
