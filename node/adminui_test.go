package node

import (
	"maps"
	"testing"

	"github.com/architus/guildcast/token"
)

// TestAdminUICostsNothingWhenOff counts who is called for each connection, room and event of a node.
func TestAdminUICostsNothingWhenOff(t *testing.T) {
	off, on, production := listeners(t, nil), listeners(t, &AdminUI{}), listeners(t, &AdminUI{Production: true})
	want := map[string]int{
		"engine connection": 1, // the library's own
		"connection":        1, // the gateway
		"join-room":         0, "leave-room": 0,
	}
	if !maps.Equal(off, want) {
		t.Errorf("off, it is %v, want %v", off, want)
	}
	for name, n := range want {
		if on[name] != n+1 {
			t.Errorf("on, %d listen to %s, want %d: this test looks at the wrong place", on[name], name, n+1)
		}
	}
	want["engine connection"]++
	if !maps.Equal(production, want) {
		t.Errorf("in production mode it is %v, want %v", production, want)
	}
}

// listeners returns how many listen to what happens often.
func listeners(t *testing.T, ui *AdminUI) map[string]int {
	t.Helper()
	if ui != nil {
		ui.PasswordHash = "$2a$10$JwLNcCPya38TqvbfYtFyfODXNi2JQE0h3qntpc72UPYVvqv1fXwKu"
	}
	n, err := New(Config{
		Addr: "127.0.0.1:0", JWTSecrets: []token.Secret{{Key: []byte("secret")}}, AdminUI: ui,
	})
	if err != nil {
		t.Fatal(err)
	}
	defer n.discard()
	nsp := n.io.Sockets()
	return map[string]int{
		"engine connection": n.io.Engine().ListenerCount("connection"),
		"connection":        len(nsp.Listeners("connection")),
		"join-room":         nsp.Adapter().ListenerCount("join-room"),
		"leave-room":        nsp.Adapter().ListenerCount("leave-room"),
	}
}
