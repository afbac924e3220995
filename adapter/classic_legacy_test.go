package adapter

import (
	"context"
	"encoding/json"
	"fmt"
	"reflect"
	"testing"

	"github.com/zishang520/socket.io/v2/socket"

	"github.com/architus/guildcast/internal/test/redistest"
)

// TestClassicNamedSocket publishes the requests about one socket that socket.io-redis 5, and @socket.io/redis-adapter
// up to version 7, send, and reads the answers that Node.js servers of those versions want.
func TestClassicNamedSocket(t *testing.T) {
	t.Parallel()
	_, rc := redistest.Mini(t)
	n := classicCluster(t, rc, 1, Options{})[0]
	c := n.connect("/", "r1")
	s, _ := n.io.Sockets().Sockets().Load(socket.SocketId(c.sid))
	answers := rc.Subscribe(t.Context(), "socket.io-response#/#")
	defer answers.Close()
	if _, err := answers.Receive(t.Context()); err != nil {
		t.Fatal(err)
	}
	ask := func(request string, args ...any) map[string]any {
		t.Helper()
		request = fmt.Sprintf(request, args...)
		if err := rc.Publish(t.Context(), "socket.io-request#/#", request).Err(); err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), patience)
		defer cancel()
		m, err := answers.ReceiveMessage(ctx)
		if err != nil {
			t.Fatalf("%s: %v", request, err)
		}
		var answer map[string]any
		if err := json.Unmarshal([]byte(m.Payload), &answer); err != nil {
			t.Fatal(err)
		}
		delete(answer, "uid")
		return answer
	}
	wants := func(got map[string]any, want string) {
		t.Helper()
		var w map[string]any
		if err := json.Unmarshal([]byte(want), &w); err != nil {
			t.Fatal(err)
		}
		if !reflect.DeepEqual(got, w) {
			t.Errorf("got %v, want %s", got, want)
		}
	}

	wants(ask(`{"requestId":"1","uid":"peer","type":2,"sid":%q,"room":"new"}`, c.sid), `{"requestId":"1"}`)
	if !s.Rooms().Has("new") {
		t.Error("did not join")
	}
	wants(ask(`{"requestId":"2","uid":"peer","type":3,"sid":%q,"room":"new"}`, c.sid), `{"requestId":"2"}`)
	if s.Rooms().Has("new") {
		t.Error("did not leave")
	}
	wants(ask(`{"requestid":"3","type":3,"sid":%q,"room":"new"}`, c.sid), `{"requestid":"3"}`)
	if !s.Rooms().Has("new") {
		t.Error("did not join for socket.io-redis 5")
	}
	wants(ask(`{"requestid":"4","type":4,"sid":%q,"room":"new"}`, c.sid), `{"requestid":"4"}`)
	if s.Rooms().Has("new") {
		t.Error("did not leave for socket.io-redis 5")
	}
	s.Leave("r1")
	wants(ask(`{"requestid":"5","type":1,"sid":%q}`, c.sid), fmt.Sprintf(`{"requestid":"5","rooms":[%q]}`, c.sid))
	wants(ask(`{"requestid":"6","type":0,"rooms":[%q]}`, c.sid), fmt.Sprintf(`{"requestid":"6","clients":[%q]}`, c.sid))
	wants(ask(`{"requestid":"7","type":2}`), fmt.Sprintf(`{"requestid":"7","rooms":[%q]}`, c.sid))
	wants(ask(`{"requestid":"8","type":5,"data":"x"}`), `{"requestid":"8","data":null}`)
	// The server that has the socket answers, so the next answer is that to the request after it.
	nobody := `{"requestid":"9","type":6,"sid":"nobody"}`
	if err := rc.Publish(t.Context(), "socket.io-request#/#", nobody).Err(); err != nil {
		t.Fatal(err)
	}
	wants(ask(`{"requestid":"10","type":6,"sid":%q,"close":true}`, c.sid), `{"requestid":"10"}`)
	await(t, func() (int, bool) { n := n.io.Sockets().Sockets().Len(); return n, n == 0 })
}
