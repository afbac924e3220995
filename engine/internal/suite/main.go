// Command suite serves what the protocols' own test suites expect, on port 3000: docs/reference/conformance.md says how
// they are run.
package main

import (
	"flag"
	"fmt"
	"net/http"
	"os"
	"time"

	"github.com/zishang520/engine.io/v2/types"
	"github.com/zishang520/socket.io/v2/socket"

	"github.com/architus/guildcast/engine"
	"github.com/architus/guildcast/engine/internal/eio"
)

// What the suites take for granted.
const (
	pingInterval = 300 * time.Millisecond
	pingTimeout  = 200 * time.Millisecond
	maxPayload   = 1_000_000
)

func main() {
	addr := flag.String("addr", "localhost:3000", "address to listen on")
	eio3 := flag.Bool("eio3", false, "admit clients of Engine.IO 3")
	reader := flag.Bool("reader", false, "read each WebSocket with a goroutine, not with epoll")
	flag.Parse()
	if err := serve(*addr, *eio3, *reader); err != nil {
		fmt.Fprintln(os.Stderr, "suite:", err)
		os.Exit(1)
	}
}

func serve(addr string, eio3, reader bool) error {
	sessions, err := eio.NewServer(eio.Config{
		PingInterval: pingInterval, PingTimeout: pingTimeout, MaxHTTPBufferSize: maxPayload,
		AllowEIO3: eio3, DisablePoller: reader,
	}, func(*eio.Handshake) (eio.Handler, *eio.Conn, error) {
		s := &echo{}
		return s, &s.Conn, nil
	})
	if err != nil {
		return err
	}
	opts := socket.DefaultServerOptions()
	opts.SetPingInterval(pingInterval)
	opts.SetPingTimeout(pingTimeout)
	opts.SetMaxHttpBufferSize(maxPayload)
	opts.SetConnectTimeout(time.Second)
	opts.SetCors(&types.Cors{Origin: "*"})
	io, handler := engine.NewServer(opts, engine.Options{DisablePoller: reader})
	_ = io.On("connection", connected)
	_ = io.Of("/custom", nil).On("connection", connected)

	mux := http.NewServeMux()
	bare, err := bareEcho(reader)
	if err != nil {
		return err
	}
	mux.Handle("/engine.io/", sessions)
	mux.Handle("/bare", bare)
	mux.Handle("/socket.io/", handler)
	return http.ListenAndServe(addr, mux)
}

// echo is an Engine.IO session that sends back every message.
type echo struct{ eio.Conn }

func (*echo) OnOpen(*eio.Conn) {}

func (*echo) OnInflate(*eio.Conn, int) error { return nil }

func (*echo) OnReceive(*eio.Conn, int) error { return nil }

func (*echo) OnMessage(c *eio.Conn, m eio.Packet) {
	if m.Binary {
		c.Send(eio.BinaryFrame(m.Data))
	} else {
		c.Send(eio.TextFrame(m.Data))
	}
}

func (*echo) OnClose(*eio.Conn, string, error) {}

// largestBare is the largest message of the Autobahn suite.
const largestBare = 16 << 20

// bareEcho serves WebSockets without Engine.IO that send back every message, for the Autobahn suite.
func bareEcho(reader bool) (http.Handler, error) {
	s, err := eio.NewServer(eio.Config{
		BareMessages: true, DisablePoller: reader, PingInterval: time.Hour, MaxHTTPBufferSize: largestBare,
		MaxFragments: largestBare, QueueHard: 4 * largestBare, Deflate: &eio.Compression{Threshold: 0},
	}, func(*eio.Handshake) (eio.Handler, *eio.Conn, error) {
		b := &bare{}
		return b, &b.Conn, nil
	})
	if err != nil {
		return nil, err
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		r.URL.RawQuery = "EIO=4&transport=websocket"
		s.ServeHTTP(w, r)
	}), nil
}

// bare is a WebSocket of bareEcho.
type bare struct{ echo }

func (*bare) OnInflate(*eio.Conn, int) error { return nil }

func (*bare) OnMessage(c *eio.Conn, m eio.Packet) {
	if m.Binary {
		c.Send(eio.BinaryFrame(m.Data))
	} else {
		c.Send(eio.BareTextFrame(m.Data))
	}
}

// connected handles a socket as the suite of Socket.IO wants it.
func connected(args ...any) {
	s := args[0].(*socket.Socket)
	_ = s.Emit("auth", s.Handshake().Auth)
	_ = s.On("message", func(args ...any) { _ = s.Emit("message-back", args...) })
	_ = s.On("message-with-ack", func(args ...any) {
		last := len(args) - 1
		if ack, ok := args[last].(socket.Ack); ok {
			ack(args[:last], nil)
		}
	})
}
