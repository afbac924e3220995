// Package service is the one contract of what starts and stops in this project.
//
// What has goroutines of its own has a method Run(ctx context.Context) error. It blocks until ctx ends and all of them
// have ended, and returns nil then. It runs once: a second Run returns ErrRunTwice, and one with a context that has
// ended already ends at once. Other methods may be called before Run and beside it; once it has ended they fail with an
// error of their package that wraps ErrEnded, or do nothing, but never wait for somebody who is gone.
//
// internal/test/lifecycle tests each of them against it.
package service

import (
	"errors"
	"sync"
)

var (
	// ErrRunTwice is returned by Run if it was called before.
	ErrRunTwice = errors.New("run was called before: it may be called once")
	// ErrEnded is why something can't be done after Run has ended.
	ErrEnded = errors.New("run has ended")
)

// Life is where a service is between its construction and its end. The zero value is before Run. All methods may be
// called concurrently.
type Life struct {
	mu           sync.Mutex
	begun, ended bool           // guarded by mu
	busy         sync.WaitGroup // Add under mu while not ended
}

// Begin is the first thing that Run does. It fails if Run was called before.
func (l *Life) Begin() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.begun {
		return ErrRunTwice
	}
	l.begun = true
	return nil
}

// Enter reports whether the service has not ended. If so End waits until the caller has called Leave. It may be called
// before Begin.
func (l *Life) Enter() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.ended {
		return false
	}
	l.busy.Add(1)
	return true
}

// Leave is called once for each Enter that was true.
func (l *Life) Leave() { l.busy.Done() }

// End lets nobody enter any more, and waits for those who have. It is the last thing that Run does; before, it sees to
// it that they leave.
func (l *Life) End() {
	l.mu.Lock()
	l.ended = true
	l.mu.Unlock()
	l.busy.Wait()
}
