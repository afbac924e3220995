package engine

import (
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/zishang520/socket.io/v2/socket"

	"github.com/architus/guildcast/internal/test/sioclient"
)

// TestForward opens sessions whose ids name their server, and asks for sessions of others.
func TestForward(t *testing.T) {
	const unknown = `{"code":1,"message":"Session ID unknown"}`
	polling := "/socket.io/?EIO=4&transport=polling"
	s := serve(t, nil, Options{
		NodeID: "node-1",
		Forward: func(w http.ResponseWriter, _ *http.Request, node string) error {
			if node != "node-2" {
				return errors.New("there is no such node")
			}
			fmt.Fprint(w, "forwarded")
			return nil
		},
	}, nil)
	_, open := get(t, s.http.URL+polling)
	if !strings.Contains(open, `"sid":"node-1`) || len(strings.Split(open, `"`)[3]) != 20 {
		t.Errorf("opened %s", open)
	}
	try := func(sid string, wantStatus int, want string) {
		t.Helper()
		if status, body := get(t, s.http.URL+polling+"&sid="+sid); status != wantStatus ||
			strings.TrimSpace(body) != want {
			t.Errorf("session %s: %d %s", sid, status, body)
		}
	}
	const rest = "abcdefghijklmn"
	try("node-2"+rest, 200, "forwarded")
	try("node-3"+rest, 400, unknown)
	try("node-1"+rest, 400, unknown)
	try("node-2"+rest+"o", 400, unknown)
	try("node-2", 400, unknown)

	s.handler.srv.draining.Store(true)
	try("node-2"+rest, 200, "forwarded")
	try("node-1"+rest, 400, unknown)                   // nobody else has it
	try("node-3"+rest, 503, "server is shutting down") // another server behind the proxy may
	upgrade := "transport=websocket&sid=node-2" + rest
	_, err := sioclient.Dial(s.http.Listener.Addr().String(), sioclient.Options{Query: "&" + upgrade})
	if err == nil || !strings.Contains(err.Error(), "503") { // it would be cut
		t.Errorf("the upgrade of another server's session: %v", err)
	}
}

func TestNodeIDs(t *testing.T) {
	for _, id := range []string{"short", "node 1", "node-12", "knöt-"} {
		if _, _, err := New(socket.DefaultServerOptions(), Options{NodeID: id}); err == nil {
			t.Errorf("%q is accepted", id)
		}
	}
}
