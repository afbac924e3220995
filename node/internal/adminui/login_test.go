package adminui

import (
	"testing"
	"time"

	"go.uber.org/goleak"
	"golang.org/x/crypto/bcrypt"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func hashOf(t *testing.T, password string) []byte {
	t.Helper()
	hash, err := bcrypt.GenerateFromPassword([]byte(password), bcrypt.MinCost)
	if err != nil {
		t.Fatal(err)
	}
	return hash
}

func TestPasswords(t *testing.T) {
	l := newLogin("admin", hashOf(t, "right"))
	for _, c := range []struct {
		user, password string
		want           bool
	}{
		{"admin", "right", true}, {"admin", "wrong", false}, {"admin", "", false}, {"other", "right", false},
		{"", "right", false}, {"admin", "right ", false},
	} {
		if got := l.valid(c.user, c.password); got != c.want {
			t.Errorf("%s, %s: %t", c.user, c.password, got)
		}
	}
}

func TestSessions(t *testing.T) {
	hash, now := hashOf(t, "right"), time.Now()
	l, other := newLogin("admin", hash), newLogin("admin", hash)
	id := l.newSession(now)
	for _, c := range []struct {
		name string
		l    *login
		id   string
		at   time.Time
		want bool
	}{
		{"at once", l, id, now, true},
		{"another server", other, id, now, true},
		{"just in time", l, id, now.Add(sessionLife - 2*time.Second), true},
		{"too late", l, id, now.Add(sessionLife + time.Second), false},
		{"another password", newLogin("admin", hashOf(t, "right")), id, now, false},
		{"another user", newLogin("root", hash), id, now, false},
		{"a later end", l, "f" + id[1:], now, false},
		{"a changed signature", l, id[:len(id)-1] + string(id[len(id)-1]^1), now, false},
		{"longer", l, id + "00", now, false},
		{"empty", l, "", now, false},
		{"no hex", l, "xyz", now, false},
	} {
		if got := c.l.validSession(c.id, c.at); got != c.want {
			t.Errorf("%s: %t", c.name, got)
		}
	}
}
