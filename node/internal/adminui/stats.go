package adminui

import (
	"fmt"
	"os"
	"sync"
	"time"
)

// tally counts what happens in each second.
type tally struct {
	mu     sync.Mutex
	counts map[bucket]int // guarded by mu
}

type bucket struct {
	second        int64
	kind, subKind string
}

func (t *tally) add(kind, subKind string, n int) {
	b := bucket{time.Now().Unix(), kind, subKind}
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.counts == nil {
		t.counts = map[bucket]int{}
	}
	t.counts[b] += n
}

// take returns what was counted since the last call.
func (t *tally) take() []any {
	t.mu.Lock()
	counts := t.counts
	t.counts = nil
	t.mu.Unlock()
	list := make([]any, 0, len(counts))
	for b, n := range counts {
		e := map[string]any{"timestamp": b.second * 1000, "type": b.kind, "count": n}
		if b.subKind != "" {
			e["subType"] = b.subKind
		}
		list = append(list, e)
	}
	return list
}

// stats describes the server.
func (u *UI) stats() map[string]any {
	host, _ := os.Hostname()
	clients, polling := u.o.Clients()
	var namespaces []any
	for _, nsp := range u.namespaces() {
		namespaces = append(namespaces, map[string]any{"name": nsp.Name(), "socketsCount": nsp.Sockets().Len()})
	}
	return map[string]any{
		"serverId": fmt.Sprintf("%s#%d", host, os.Getpid()), "hostname": host, "pid": os.Getpid(),
		"uptime": time.Since(u.began).Seconds(), "clientsCount": clients, "pollingClientsCount": polling,
		"aggregatedEvents": u.tally.take(), "namespaces": namespaces,
	}
}
