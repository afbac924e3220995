//go:build linux

// Command server is the Go side of the benchmarks: a Socket.IO server on package engine with the events of
// integration/nodejs/bench/server.mjs. ADDR=host:port; REDIS_URL adds the classic adapter.
package main

import (
	"context"
	"encoding/json"
	"log"
	"net/http"
	"net/http/pprof"
	"os"
	"runtime"
	"runtime/debug"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/zishang520/engine.io/v2/types"
	"github.com/zishang520/socket.io/v2/socket"

	"github.com/architus/guildcast/adapter"
	"github.com/architus/guildcast/engine"
)

func main() {
	opts := socket.DefaultServerOptions()
	opts.SetMaxHttpBufferSize(1_000_000)
	if ms, err := strconv.Atoi(os.Getenv("PING_INTERVAL")); err == nil {
		opts.SetPingInterval(time.Duration(ms) * time.Millisecond)
	}
	var client *redis.Client
	if url := os.Getenv("REDIS_URL"); url != "" {
		ro, err := redis.ParseURL(url)
		if err != nil {
			log.Fatal(err)
		}
		client = redis.NewClient(ro)
		opts.SetAdapter(adapter.New(client, adapter.Options{}))
	}
	deflate := os.Getenv("DEFLATE") != ""
	if deflate {
		opts.SetPerMessageDeflate(&types.PerMessageDeflate{})
	}
	io, handler := engine.NewServer(opts, engine.Options{ContextTakeover: deflate})
	_ = io.On("connection", func(a ...any) { serve(io, client, a[0].(*socket.Socket)) })

	mux := http.NewServeMux()
	mux.Handle("/socket.io/", handler)
	mux.HandleFunc("/stats", writeStats)
	mux.HandleFunc("/gc", func(w http.ResponseWriter, r *http.Request) {
		runtime.GC()
		debug.FreeOSMemory()
		writeStats(w, r)
	})
	mux.HandleFunc("/debug/pprof/profile", pprof.Profile)
	mux.HandleFunc("/debug/pprof/heap", pprof.Handler("heap").ServeHTTP)
	mux.HandleFunc("/debug/pprof/goroutine", pprof.Handler("goroutine").ServeHTTP)
	log.Fatal(http.ListenAndServe(os.Getenv("ADDR"), mux))
}

func writeStats(w http.ResponseWriter, _ *http.Request) {
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	_ = json.NewEncoder(w).Encode(map[string]any{
		"heap":       m.HeapAlloc,
		"goroutines": runtime.NumGoroutine(),
	})
}

func serve(io *socket.Server, client *redis.Client, s *socket.Socket) {
	ack := func(a []any, args ...any) { a[len(a)-1].(socket.Ack)(args, nil) }
	num := func(v any) int { f, _ := v.(float64); return int(f) }
	_ = s.On("join", func(a ...any) {
		s.Join(socket.Room(a[0].(string)))
		joined.add(engine.ConnOf(s))
		ack(a)
	})
	_ = s.On("echo", func(a ...any) { ack(a, a[0]) })
	_ = s.On("burst", func(a ...any) {
		room, pad := socket.Room(a[0].(string)), strings.Repeat("x", num(a[2]))
		for i := range num(a[1]) {
			_ = io.To(room).Emit("m", i, pad)
		}
	})
	_ = s.On("say", func(a ...any) { joined.say(a[0]) })
	_ = s.On("relay", func(a ...any) {
		if err := relay(io, client, a[0].(string), socket.Room(a[1].(string))); err != nil {
			log.Fatal(err)
		}
		ack(a)
	})
	_ = s.On("paced", func(a ...any) {
		room, n, pad := socket.Room(a[0].(string)), num(a[1]), strings.Repeat("x", num(a[2]))
		go func() {
			tick := time.NewTicker(time.Duration(num(a[3])) * time.Millisecond)
			defer tick.Stop()
			for i := range n {
				<-tick.C
				_ = io.To(room).Emit("m", i, pad)
			}
		}()
	})
	_ = s.On("rooms", func(a ...any) {
		rooms, pad, seed := uint64(num(a[1])), strings.Repeat("x", num(a[2])), uint64(1)
		for i := range num(a[0]) {
			seed = (seed*1103515245 + 12345) % 2147483648
			_ = io.To(socket.Room("p"+strconv.FormatUint(seed%rooms, 10))).Emit("m", i, pad)
		}
	})
}

// joined are those who have joined a room, for say.
var joined members

// members are connections that get the same events.
type members struct {
	group engine.Group
	mu    sync.Mutex
	conns []*engine.Conn
}

func (m *members) add(c *engine.Conn) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.conns = append(m.conns, c)
}

// say sends an event, compressed once for all.
func (m *members) say(v any) {
	args, err := json.Marshal([]any{"e", v})
	if err != nil {
		log.Fatal(err)
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	engine.Deliver(engine.NewEventMessage("/", args, nil), m.conns, engine.DeliverOptions{Group: &m.group})
}

// relay broadcasts what is published on a channel to the clients of this server who are in a room, as log_pool.
func relay(io *socket.Server, client *redis.Client, channel string, room socket.Room) error {
	ctx := context.Background()
	ps := client.Subscribe(ctx, channel)
	if _, err := ps.Receive(ctx); err != nil {
		return err
	}
	go func() {
		for {
			m, err := ps.ReceiveMessage(ctx)
			if err != nil {
				log.Fatal(err)
			}
			var data any
			if err := json.Unmarshal([]byte(m.Payload), &data); err != nil {
				log.Fatal(err)
			}
			_ = io.Local().To(room).Emit("log_pool", data)
		}
	}()
	return nil
}
