package adapter

import (
	"bytes"
	"log/slog"
	"strings"
	"testing"

	"github.com/architus/guildcast/adapter/internal/wire"
	"github.com/architus/guildcast/bus"
)

// TestStrangeMessageIsLogged shows that what nobody understands is logged with enough to find the sender, once a minute and
// kind.
func TestStrangeMessageIsLogged(t *testing.T) {
	var log bytes.Buffer
	c := &cluster{constructor: &constructor{logger: slog.New(slog.NewTextHandler(&log, nil))}}
	python := bus.Message{Channel: "socket.io#/#", Payload: []byte(`{"method": "emit", "event": "secret", "host_id": "h"}`)}
	for range 3 {
		c.handle(python, func() error { return &wire.Error{Reason: wire.BadShape, Detail: "not an array"} })
	}
	if n := strings.Count(log.String(), "level=WARN"); n != 1 || !strings.Contains(log.String(), "RedisManager") ||
		!strings.Contains(log.String(), "socket.io#/#") || !strings.Contains(log.String(), "host_id") || strings.Contains(log.String(), "secret") {
		t.Errorf("%d lines:\n%s", n, &log)
	}
	c.handle(python, func() error { return &wire.Error{Reason: wire.OtherNamespace, Detail: "/x"} })
	if n := strings.Count(log.String(), "level=WARN"); n != 1 {
		t.Errorf("a message for another namespace was logged:\n%s", &log)
	}
}
