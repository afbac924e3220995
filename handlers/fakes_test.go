package handlers_test

import (
	"context"
	"encoding/json"
	"slices"
	"sync"
	"testing"

	"github.com/architus/guildcast/event"
)

// fakePools is a cache in memory.
type fakePools struct {
	mu     sync.Mutex
	values map[[2]string]map[string]string // by guild and type, then id
	online map[string][]string
	err    error
}

func (f *fakePools) put(guild, kind, id, value string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	key := [2]string{guild, kind}
	if f.values[key] == nil {
		f.values[key] = map[string]string{}
	}
	f.values[key][id] = value
}

func (f *fakePools) remove(guild, kind, id string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	delete(f.values[[2]string{guild, kind}], id)
}

func (f *fakePools) Get(_ context.Context, guild, kind string, ids []string) ([][]byte, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	values := make([][]byte, len(ids))
	for i, id := range ids {
		if v, ok := f.values[[2]string{guild, kind}][id]; ok {
			values[i] = []byte(v)
		}
	}
	return values, f.err
}

func (f *fakePools) All(_ context.Context, guild, kind string, yield func([]string, [][]byte) error) error {
	f.mu.Lock()
	pool := f.values[[2]string{guild, kind}]
	var ids []string
	var values [][]byte
	for id, v := range pool {
		ids, values = append(ids, id), append(values, []byte(v))
	}
	err := f.err
	f.mu.Unlock()
	if err != nil {
		return err
	}
	for len(ids) > 0 { // portions of a size that divides nothing
		n := min(len(ids), 333)
		if err := yield(ids[:n], values[:n]); err != nil {
			return err
		}
		ids, values = ids[n:], values[n:]
	}
	return nil
}

func (f *fakePools) Online(_ context.Context, guild string) ([]string, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Clone(f.online[guild]), f.err
}

// fakeRequests is a worker: answer is called with every request.
type fakeRequests struct {
	mu     sync.Mutex
	asked  []string // method, guild and args of every request
	answer func(ctx context.Context, guild, method string, args map[string]any, part func(string) error) error
}

func (f *fakeRequests) Do(ctx context.Context, guild, method string, args []byte, part func([]byte) error) error {
	f.mu.Lock()
	f.asked = append(f.asked, method+" "+guild+" "+string(args))
	answer := f.answer
	f.mu.Unlock()
	if answer == nil {
		return context.DeadlineExceeded
	}
	var decoded map[string]any
	if err := json.Unmarshal(args, &decoded); err != nil {
		return err
	}
	return answer(ctx, guild, method, decoded, func(s string) error { return part([]byte(s)) })
}

func (f *fakeRequests) log() []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Clone(f.asked)
}

// fakeTopics confirms at once, or when told, or never.
type fakeTopics struct {
	mu   sync.Mutex
	held map[event.Topic]int
	err  error
	wait chan struct{} // where not nil, Acquire waits for it
}

func (f *fakeTopics) Acquire(ctx context.Context, t event.Topic) (func(), error) {
	f.mu.Lock()
	err, wait := f.err, f.wait
	f.mu.Unlock()
	if wait != nil {
		select {
		case <-wait:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
	if err != nil {
		return nil, err
	}
	f.mu.Lock()
	f.held[t]++
	f.mu.Unlock()
	return func() {
		f.mu.Lock()
		defer f.mu.Unlock()
		f.held[t]--
	}, nil
}

func (f *fakeTopics) count(t event.Topic) int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.held[t]
}

func (f *fakeTopics) set(err error, wait chan struct{}) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.err, f.wait = err, wait
}

// check finds subscriptions that nobody gave up, or gave up twice.
func (f *fakeTopics) check(t testing.TB) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for topic, n := range f.held {
		if n != 0 {
			t.Errorf("%v is held %d times at the end", topic, n)
		}
	}
}
