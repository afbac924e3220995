// Package throttle keeps the log readable if one fault comes a thousand times a second: one line a minute and kind.
package throttle

import (
	"sync"
	"time"
)

const (
	// interval is the least time between two lines of one kind.
	interval = time.Minute
	// maxKinds bounds the kinds that are remembered, since they may come from outside. Lines of more kinds within one
	// interval are not logged.
	maxKinds = 1024
)

// Minutely lets through the first log line of each kind, and then one a minute. The zero value is ready to use, and all
// methods may be called concurrently.
type Minutely[K comparable] struct {
	mu   sync.Mutex
	last map[K]time.Time // when a line was let through; at most maxKinds; guarded by mu
}

// Allow reports whether a line of this kind is to be logged now.
func (m *Minutely[K]) Allow(kind K) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	now := time.Now()
	if last, ok := m.last[kind]; ok && now.Sub(last) < interval {
		return false
	}
	if len(m.last) >= maxKinds && !m.forgetLocked(now) {
		return false
	}
	if m.last == nil {
		m.last = map[K]time.Time{}
	}
	m.last[kind] = now
	return true
}

// forgetLocked forgets the kinds that would be let through, and reports whether there is room again.
func (m *Minutely[K]) forgetLocked(now time.Time) bool {
	for kind, last := range m.last {
		if now.Sub(last) >= interval {
			delete(m.last, kind)
		}
	}
	return len(m.last) < maxKinds
}
