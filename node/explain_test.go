package node

import (
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/architus/guildcast/token"
)

func TestExplainRequests(t *testing.T) {
	n, err := New(Config{Addr: "127.0.0.1:0", JWTSecrets: []token.Secret{{Key: []byte("secret")}}})
	if err != nil {
		t.Fatal(err)
	}
	defer n.discard()
	for _, c := range []struct {
		query, body string
		code        int
		want        string
	}{
		{"", "{}", 400, "socket=<id>"},
		{"?socket=x", "", 400, "the event"},
		{"?socket=x&guild=y", "{}", 400, "not an id"},
		{"?socket=x&logs=perhaps", "{}", 400, "neither true nor false"},
		{"?socket=x", strings.Repeat(" ", 5<<20), 400, "too large"},
		{"?socket=x&guild=1&logs=1", "{}", 404, "no socket"},
		{"?socket=x&event={}", "", 404, "no socket"},
	} {
		w := httptest.NewRecorder()
		n.explainHandler().ServeHTTP(w, httptest.NewRequest("GET", "/explain"+c.query, strings.NewReader(c.body)))
		if w.Code != c.code || !strings.Contains(w.Body.String(), c.want) {
			t.Errorf("%s: %d %s, want %d %s", c.query, w.Code, w.Body, c.code, c.want)
		}
	}
}
