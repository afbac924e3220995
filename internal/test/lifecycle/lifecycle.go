// Package lifecycle starts services in tests, and tests the contract that package service describes.
package lifecycle

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/architus/guildcast/internal/service"
)

// Start runs a service until the test ends, or stop is called. stop returns once Run has.
func Start(t testing.TB, run func(context.Context) error) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	running.Go(func() {
		if err := run(ctx); err != nil {
			t.Errorf("run: %v", err)
		}
	})
	stop = sync.OnceFunc(func() { cancel(); running.Wait() })
	t.Cleanup(stop)
	return stop
}

// Service is something that starts and stops.
type Service struct {
	Run func(context.Context) error

	// Use does something that the service is for. It may fail before Run, and it must fail, or do nothing, once Run has
	// ended. nil: there is nothing.
	Use func(context.Context) error

	// Package is the path of its package: once Run has ended no goroutine may be in it, or in one below it.
	Package string
}

// patience is how long a service may take. Whoever needs it hangs.
const patience = time.Minute

// Conform tests a kind of service; each call of build makes a new one. Rounds is how often one is started and stopped
// while it is used.
func Conform(t *testing.T, rounds int, build func(t *testing.T) Service) {
	t.Helper()
	t.Run("cancelled before the start", func(t *testing.T) {
		s := build(t)
		ctx, cancel := context.WithCancel(context.Background())
		cancel()
		returns(t, "Run", func() error { return s.Run(ctx) })
		s.ended(t)
	})
	t.Run("used before the start", func(t *testing.T) {
		s := build(t)
		s.use(t, 50*time.Millisecond)
		s.start(t)()
		s.ended(t)
	})
	t.Run("run twice", func(t *testing.T) {
		s := build(t)
		ctx, cancel := context.WithCancel(context.Background())
		defer cancel()
		runs := make(chan error, 2)
		for range 2 {
			go func() { runs <- s.Run(ctx) }()
		}
		refused(t, "one of two Runs", func() error { return <-runs })
		cancel()
		returns(t, "the other Run", func() error { return <-runs })
		refused(t, "a third Run", func() error { return s.Run(context.Background()) })
		s.ended(t)
	})
	t.Run("stopped in use", func(t *testing.T) {
		for round := range rounds {
			s := build(t)
			var users sync.WaitGroup
			for range 3 {
				users.Go(func() {
					for range 3 {
						s.use(t, patience)
					}
				})
			}
			stop := s.start(t)
			for range round * round { // it gets ever further
				runtime.Gosched()
			}
			stop()
			hurry(t, "users end", users.Wait)
			s.ended(t)
			if t.Failed() {
				t.Fatalf("in round %d", round)
			}
		}
	})
}

// start begins Run; stop ends it.
func (s Service) start(t *testing.T) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	began := make(chan struct{})
	go func() {
		close(began)
		done <- s.Run(ctx)
	}()
	<-began
	return func() {
		t.Helper()
		cancel()
		returns(t, "Run", func() error { return <-done })
	}
}

// use uses the service, which may fail and may not hang: it has an answer at most a moment after d.
func (s Service) use(t *testing.T, d time.Duration) {
	t.Helper()
	if s.Use == nil {
		return
	}
	hurry(t, "use", func() {
		ctx, cancel := context.WithTimeout(context.Background(), d)
		defer cancel()
		_ = s.Use(ctx)
	})
}

// ended checks that nothing of the service is left, and that its callers get an error.
func (s Service) ended(t *testing.T) {
	t.Helper()
	if s.Use != nil {
		hurry(t, "use after the end", func() {
			if err := s.Use(context.Background()); err == nil {
				t.Error("the service can be used after its end")
			}
		})
	}
	var left string
	// A goroutine that has let go of a WaitGroup takes a moment to end.
	for begun := time.Now(); time.Since(begun) < patience; time.Sleep(time.Millisecond) {
		if left = goroutinesIn(s.Package); left == "" {
			return
		}
	}
	t.Errorf("left when Run has returned:\n%s", left)
}

// goroutinesIn returns the stacks of the goroutines that run code of a package, or were started by it.
func goroutinesIn(path string) string {
	buf := make([]byte, 4<<20)
	var in []string
	for stack := range strings.SplitSeq(string(buf[:runtime.Stack(buf, true)]), "\n\n") {
		if (strings.Contains(stack, path+".") || strings.Contains(stack, path+"/")) &&
			!strings.Contains(stack, "lifecycle.goroutinesIn") {
			in = append(in, stack)
		}
	}
	return strings.Join(in, "\n\n")
}

func returns(t *testing.T, what string, f func() error) {
	t.Helper()
	hurry(t, what, func() {
		if err := f(); err != nil {
			t.Errorf("%s returned %v", what, err)
		}
	})
}

// refused has a Run fail that is not the first.
func refused(t *testing.T, what string, f func() error) {
	t.Helper()
	hurry(t, what, func() {
		if err := f(); !errors.Is(err, service.ErrRunTwice) {
			t.Errorf("%s returned %v", what, err)
		}
	})
}

// hurry fails the test if f does not return.
func hurry(t *testing.T, what string, f func()) {
	t.Helper()
	done := make(chan struct{})
	go func() {
		defer close(done)
		f()
	}()
	select {
	case <-done:
	case <-time.After(patience):
		buf := make([]byte, 1<<20)
		panic(fmt.Sprintf("%s hangs:\n%s", what, buf[:runtime.Stack(buf, true)]))
	}
}
