package handlers_test

import (
	"context"
	"encoding/json"
	"slices"
	"sync"
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
