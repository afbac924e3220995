package sioclient

import (
	"context"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/zishang520/socket.io/v2/socket"

	"github.com/architus/guildcast/engine"
)

// TestClient talks to a server in a namespace, with binary and acknowledgements both ways.
func TestClient(t *testing.T) {
	opts := socket.DefaultServerOptions()
	io, handler := engine.NewServer(opts, engine.Options{})
	server := httptest.NewServer(handler)
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		if err := handler.Shutdown(ctx); err != nil {
			t.Error(err)
		}
		io.Close(nil)
		server.Close()
	})
	answered := make(chan []any, 1)
	_ = io.Of("/chat", nil).On("connection", func(args ...any) {
		s := args[0].(*socket.Socket)
		_ = s.On("echo", func(args ...any) {
			ack := args[len(args)-1].(socket.Ack)
			ack(args[:len(args)-1], nil)
		})
		_ = s.On("send", func(...any) {
			_ = s.Emit("first", "text", []byte("one"))
			s.Timeout(patience).EmitWithAck("second")(func(args []any, err error) { answered <- args })
		})
		_ = s.On("end", func(...any) { s.Disconnect(true) })
	})

	c := Connect(t, strings.TrimPrefix(server.URL, "http://"),
		Options{Namespace: "/chat", Query: "&a=b", Auth: `{"token":"x"}`})
	if got := string(c.Ask("echo", "a string")); got != `"a string"` {
		t.Errorf("echo of a string: %s", got)
	}
	if got := string(c.Ask("echo", map[string]int{"n": 1})); got != `{"n":1}` {
		t.Errorf("echo of an object: %s", got)
	}
	c.Pause()
	c.Emit("send")
	c.Resume()
	first := c.Expect("first")
	if got := string(first.Arg()); got != `"text"` || len(first.Attachments) != 1 ||
		string(first.Attachments[0]) != "one" {
		t.Errorf("got %s with %q", first, first.Attachments)
	}
	c.Answer(c.Expect("second"), "yes", []byte("two"))
	if got := <-answered; len(got) != 2 || got[0] != "yes" {
		t.Errorf("answered %v", got)
	}
	c.Emit("end")
	c.Gone()
}
