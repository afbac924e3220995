package redis

import (
	"bytes"
	"errors"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/architus/guildcast/internal/redisurl"
	"github.com/architus/guildcast/internal/test/lifecycle"
	"github.com/architus/guildcast/internal/test/redistest"
)

// lockedBuffer is a buffer for concurrent writers.
type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

func TestRefusalsAreLogged(t *testing.T) {
	server := redistest.Start(t)
	root := server.Client()
	must(t, root.Do(within(t), "ACL", "SETUSER", "u", "reset", "on", ">p", "allkeys", "allchannels", "+@all",
		"-hmget", "-xadd", "-zscan", "-sscan").Err())
	must(t, root.Set(within(t), "guildcast:pool:{2}:member", "x", 0).Err())
	c, err := redisurl.Connect("redis://u:p@" + server.Addr())
	must(t, err)
	t.Cleanup(func() { _ = c.Close() })
	var log lockedBuffer
	LogRefusals(c.Client, slog.New(slog.NewTextHandler(&log, nil)))

	entities := NewEntities(c.Client, nil)
	requests := newRequests(t, c.Client, RequestsOptions{Timeout: patience})
	revocations := NewRevocations(c.Client, newBus(t, c.Client), RevocationsOptions{Apply: (&applied{}).apply})
	lifecycle.Start(t, revocations.Run)
	for range 3 {
		for _, guild := range []string{"1", "3"} {
			if _, err := entities.Get(within(t), guild, "member", []string{"1"}); !errors.Is(err, ErrUnavailable) {
				t.Errorf("get: %v", err)
			}
		}
		if err := entities.All(within(t), "2", "member", nil); !errors.Is(err, ErrUnavailable) { // WRONGTYPE
			t.Errorf("all: %v", err)
		}
		if _, _, err := entities.Online(within(t), "1", 0); !errors.Is(err, ErrUnavailable) {
			t.Errorf("online: %v", err)
		}
		if _, err := do(t, requests, "1", "search", "{}"); !errors.Is(err, ErrUnavailable) {
			t.Errorf("request: %v", err)
		}
		if err := revocations.Load(within(t)); !errors.Is(err, ErrUnavailable) {
			t.Errorf("load: %v", err)
		}
	}
	must(t, root.ConfigSet(within(t), "maxmemory", "1").Err())
	_, err = Revoke(within(t), c.Client, []byte(`{"sub":"1"}`), time.Now().Add(time.Hour))
	if !errors.Is(err, ErrUnavailable) {
		t.Errorf("revoke: %v", err)
	}
	for _, want := range []string{
		"command=HMGET key=guildcast:pool:{*}:member err=\"NOPERM",
		"command=HSCAN key=guildcast:pool:{*}:member err=\"WRONGTYPE",
		"command=SSCAN key=guildcast:online:{*} err=\"NOPERM",
		"command=XADD key=guildcast:requests:pool:* err=\"NOPERM",
		"command=ZSCAN key=guildcast:revocations err=\"NOPERM", "err=\"OOM",
	} {
		if n := strings.Count(log.String(), want); n != 1 {
			t.Errorf("%d lines with %q in\n%s", n, want, log.String())
		}
	}
}

// Neither an ordinary error nor a lost connection is a refusal.
func TestAnswersAreNoRefusals(t *testing.T) {
	server := redistest.Start(t)
	client := server.Client()
	var log lockedBuffer
	LogRefusals(client, slog.New(slog.NewTextHandler(&log, nil)))
	_ = client.Get(within(t), "missing").Err()
	_ = client.XPending(within(t), "missing", "workers").Err() // NOGROUP
	server.Stop()
	_ = client.Get(within(t), "missing").Err()
	if log.String() != "" {
		t.Errorf("logged %s", log.String())
	}
}
