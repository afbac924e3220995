package engine_test

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"sync"
	"time"

	"github.com/zishang520/socket.io/v2/socket"

	"github.com/architus/guildcast/engine"
)

// A Socket.IO server is built by NewServer, served by any HTTP server, and drained by Shutdown.
func Example() {
	io, handler := engine.NewServer(nil, engine.Options{})
	_ = io.On("connection", func(args ...any) {
		s := args[0].(*socket.Socket)
		_ = s.On("hello", func(args ...any) {
			_ = s.Emit("world", args...)
		})
	})

	mux := http.NewServeMux()
	mux.Handle("/socket.io/", handler)
	front := httptest.NewServer(mux) // in a program: http.Server
	defer front.Close()

	res, err := http.Get(front.URL + "/socket.io/?EIO=4&transport=polling") // what a client begins with
	if err != nil {
		fmt.Println(err)
		return
	}
	_ = res.Body.Close()
	fmt.Println(res.Status, io.Engine().ClientsCount())

	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	fmt.Println(handler.Shutdown(ctx))
	// Output:
	// 200 OK 1
	// <nil>
}

// A payload that is at hand as JSON is framed once and queued on many connections.
func ExampleDeliver() {
	io, _ := engine.NewServer(nil, engine.Options{})
	var mu sync.Mutex
	var conns []*engine.Conn // kept by the application, for instance by guild
	_ = io.On("connection", func(args ...any) {
		mu.Lock()
		defer mu.Unlock()
		conns = append(conns, engine.ConnOf(args[0].(*socket.Socket)))
	})
	m := engine.NewEventMessage("/", []byte(`["log_pool",{"id":"1"}]`), nil)
	mu.Lock()
	to := slices.Clone(conns)
	mu.Unlock()
	engine.Deliver(m, to, engine.DeliverOptions{})
}
