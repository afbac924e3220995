package adapter

import (
	"bytes"
	"context"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/architus/guildcast/adapter/internal/wire"
	"github.com/architus/guildcast/bus"
	"github.com/architus/guildcast/internal/test/redistest"
)

// TestStrangeMessageIsLogged shows that what nobody understands is logged with enough to find the sender, once a minute
// and kind.
func TestStrangeMessageIsLogged(t *testing.T) {
	var log bytes.Buffer
	c := &cluster{constructor: &constructor{logger: slog.New(slog.NewTextHandler(&log, nil))}}
	python := bus.Message{
		Channel: "socket.io#/#", Payload: []byte(`{"method": "emit", "event": "secret", "host_id": "h0"}`),
	}
	for range 3 {
		c.handle(python, func() error { return &wire.Error{Reason: wire.BadShape, Detail: "not an array"} })
	}
	lines := func() int { return strings.Count(log.String(), "level=WARN") }
	if lines() != 1 || strings.Contains(log.String(), "secret") {
		t.Errorf("%d lines:\n%s", lines(), &log)
	}
	for _, want := range []string{"RedisManager", "socket.io#/#", "signature=h0", "map{method, event, host_id}"} {
		if !strings.Contains(log.String(), want) {
			t.Errorf("no %q in the log:\n%s", want, &log)
		}
	}
	c.handle(python, func() error { return &wire.Error{Reason: wire.Unanswerable, Detail: "too late"} })
	if lines() != 1 {
		t.Errorf("a late answer was logged:\n%s", &log)
	}
	python.Payload = []byte("text of another program")
	c.handle(python, func() error { return &wire.Error{Reason: wire.BadShape, Detail: "not an array"} })
	if lines() != 2 {
		t.Errorf("another sender's message was not logged:\n%s", &log)
	}
}

// strangeCase is a message that has no place on a channel: that of all, of a room, or of responses.
type strangeCase struct{ channel, payload, reason, sender string }

// logged is a log whose lines a test receives.
type logged chan string

func (l logged) Write(line []byte) (int, error) {
	l <- string(line)
	return len(line), nil
}

// testStrange publishes what has no place on a channel: it is counted and logged, and harms nobody.
func testStrange(t *testing.T, a *cluster, n *node, log logged, c strangeCase, publish func(channel, payload string)) {
	t.Helper()
	client := n.connect("/", "r1")
	confirmed(t, a.bus)
	publish(c.channel, c.payload)
	line := await(t, func() (string, bool) {
		line := receive(t, log)
		return line, strings.Contains(line, "not understood")
	})
	for _, want := range []string{c.channel, "reason=" + c.reason, c.sender} {
		if !strings.Contains(line, want) {
			t.Errorf("%s: no %q in the log: %s", c.payload, want, line)
		}
	}
	if s := a.Stats(); s.Dropped[c.reason] != 1 || s.Requests != 0 {
		t.Errorf("%s: counted %+v", c.payload, s)
	}
	n.io.To("r1").Emit("sane")
	client.wants("sane")
}

func TestStrangeOnClassicChannels(t *testing.T) {
	t.Parallel()
	_, rc := redistest.Mini(t)
	for _, c := range []strangeCase{
		{"k#/#", `{"method":"emit","event":"x","data":["y"],"host_id":"h"}`, "shape", "RedisManager"},
		{"k#/#", `["emitter",{"type":2,"data":["x"],"nsp":"chat"},{}]`, "namespace", "signature=emitter"},
		{"k#/#", `["emitter",{"type":3,"data":["x"],"nsp":"/"},{}]`, "packet_type", "classic adapter"},
		{"k#/#", `{"type":3,"data":{"packet":{}},"uid":"0123456789abcdef","nsp":"/"}`, "shape", "streams adapter"},
		{"k#/#r1#", `{"type":3,"data":{"packet":{}},"uid":"0123456789abcdef","nsp":"/"}`, "shape", "0123456789abcdef"},
		{"k#/#", "hello", "malformed", "text of its own"},
		{"k-request#/#", "hello", "malformed", "text of its own"},
		{"k-request#/#", `["emitter",{"type":2,"data":["x"]},{}]`, "shape", "signature=emitter"},
		{"k-request#/#", `{"type":2,"uid":"emitter"}`, "shape", "without opts and sid"},
		{"k-request#/#", `{"type":4,"uid":"emitter","close":true}`, "shape", "without opts and sid"},
		{"k-request#/#", `{"type":2,"uid":"emitter","opts":{"rooms":[]}}`, "shape", "without rooms"},
		{"k-request#/#", `{"type":5,"uid":"peer"}`, "shape", "without requestId"},
		{"k-request#/#", `{"type":8,"requestId":"x","uid":"peer"}`, "request_type", "signature=peer"},
		{"k-request#/#", `{"type":4711,"requestId":"x","uid":"peer"}`, "request_type", "signature=peer"},
		{"k-request#/#", `{"type":3,"requestid":"x"}`, "shape", "without sid"},
		{"k-response#/#", `{"method":"callback","host_id":"h","args":[]}`, "shape", "RedisManager"},
		{"k-response#/#", "hello", "shape", "text of its own"},
	} {
		log := make(logged, 1000)
		n := newNode(t, New(rc, Options{Key: "k", Logger: slog.New(slog.NewTextHandler(log, nil))}))
		testStrange(t, n.cluster("/"), n, log, c, func(channel, payload string) {
			if err := rc.Publish(context.Background(), channel, payload).Err(); err != nil {
				t.Fatal(err)
			}
		})
	}
}

func TestStrangeOnShardedChannels(t *testing.T) {
	t.Parallel()
	redistest.Real(t, func(t *testing.T, rc redis.UniversalClient) {
		for _, c := range []strangeCase{
			{"k#/#", `{"method":"emit","event":"x","data":["y"],"host_id":"h"}`, "request_type", "RedisManager"},
			{"k#/#", `["emitter",{"type":2,"data":["x"],"nsp":"/"},{}]`, "shape", "signature=emitter"},
			{"k#/#", `{"type":3,"data":{"packet":{}},"uid":"u","nsp":"chat"}`, "namespace", "signature=u"},
			{"k#/#", `{"type":3,"data":{"packet":{}},"uid":"u"}`, "namespace", "signature=u"},
			{"k#/#", `{"type":3,"data":{"packet":{}},"uid":"u","nsp":"/"}`, "packet_type", "signature=u"},
			{"k#/#r1#", `{"type":3,"data":{"packet":{}},"uid":"u","nsp":"/"}`, "packet_type", "signature=u"},
			{"k#/#", "hello", "malformed", "text of its own"},
			{"k#/#", `{"type":6,"data":{"close":true},"uid":"u","nsp":"/"}`, "shape", "without opts"},
			{"k#/#", `{"type":4,"data":{"opts":{}},"uid":"u","nsp":"/"}`, "shape", "rooms"},
			{"k#/#", `{"type":7,"data":{"opts":{}},"uid":"u","nsp":"/"}`, "shape", "requestId"},
			{"k#/#", `{"type":8,"data":{"requestId":"x"},"uid":"u","nsp":"/"}`, "request_type", "response"},
			{"OWN", `{"type":6,"data":{"opts":{}},"uid":"u","nsp":"/"}`, "request_type", "channel of responses"},
			{"OWN", "hello", "malformed", "text of its own"},
		} {
			log := make(logged, 1000)
			n := newNode(t, NewSharded(rc, ShardedOptions{
				ChannelPrefix: "k", Logger: slog.New(slog.NewTextHandler(log, nil)),
			}))
			a := n.cluster("/")
			if c.channel == "OWN" {
				c.channel = a.answers + a.uid + "#"
			}
			testStrange(t, a, n, log, c, func(channel, payload string) {
				if err := rc.SPublish(context.Background(), channel, payload).Err(); err != nil {
					t.Fatal(err)
				}
			})
		}
	})
}

// TestOverlappingNamespaces shows that a message for a namespace whose channel is also that of a room here is no
// mistake of its sender.
func TestOverlappingNamespaces(t *testing.T) {
	t.Parallel()
	_, rc := redistest.Mini(t)
	log := make(logged, 1000)
	n := newNode(t, New(rc, Options{Logger: slog.New(slog.NewTextHandler(log, nil))}))
	n.io.Of("/a", nil)
	c := n.connect("/a", "b")
	confirmed(t, n.cluster("/a").bus)
	NewEmitter(rc, EmitterOptions{}).Of("/a#b").Emit("x")
	n.io.Of("/a", nil).To("b").Emit("y")
	c.wants("y")
	await(t, func() (uint64, bool) { s := n.cluster("/a").Stats(); return s.Filtered, s.Filtered == 1 })
	select {
	case line := <-log:
		t.Errorf("logged: %s", line)
	case <-time.After(silence):
	}
}
