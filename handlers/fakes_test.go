package handlers_test

import (
	"context"
	"encoding/json"
	"maps"
	"slices"
	"sync"
	"testing"

	"github.com/architus/guildcast/event"
	"github.com/architus/guildcast/history"
)

// fakePools is a cache in memory.
type fakePools struct {
	mu     sync.Mutex
	values map[[2]string]map[string]string // by guild and type, then id
	order  map[[2]string][]string          // of the ids; absent until they are scanned
	online map[string][]string
	reads  int // pages of pools that were read
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
	delete(f.order, key)
}

func (f *fakePools) remove(guild, kind, id string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	delete(f.values[[2]string{guild, kind}], id)
	delete(f.order, [2]string{guild, kind})
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

// Scan returns pages of fakePage entities; the cursor is how many came before.
func (f *fakePools) Scan(_ context.Context, guild, kind string, cursor uint64) (ids []string, values [][]byte,
	next uint64, err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.reads++
	key := [2]string{guild, kind}
	if f.order[key] == nil {
		f.order[key] = slices.Sorted(maps.Keys(f.values[key]))
	}
	ids, next = pageOf(f.order[key], cursor)
	for _, id := range ids {
		values = append(values, []byte(f.values[key][id]))
	}
	return ids, values, next, f.err
}

func (f *fakePools) All(ctx context.Context, guild, kind string, yield func([]string, [][]byte) error) error {
	for cursor := uint64(0); ; {
		ids, values, next, err := f.Scan(ctx, guild, kind, cursor)
		if err == nil && len(ids) > 0 {
			err = yield(ids, values)
		}
		if cursor = next; err != nil || cursor == 0 {
			return err
		}
	}
}

func (f *fakePools) Online(_ context.Context, guild string, cursor uint64) ([]string, uint64, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.reads++
	ids, next := pageOf(f.online[guild], cursor)
	return ids, next, f.err
}

// fakePage is how many entities a page of fakePools has.
const fakePage = 970

func pageOf(ids []string, cursor uint64) (page []string, next uint64) {
	page = slices.Clone(ids[cursor:min(len(ids), int(cursor)+fakePage)])
	if next = cursor + uint64(len(page)); int(next) == len(ids) {
		next = 0
	}
	return page, next
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

func (f *fakeTopics) Position(string) (history.Position, bool) { return history.Position{}, false }

func (f *fakeTopics) Passed(context.Context, string) (history.Position, bool) {
	return history.Position{}, false
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
