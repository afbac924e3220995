package handlers

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// asker asks a question whose answer is how many times it was asked.
type asker struct {
	x     *rounds[int]
	bytes int
	takes time.Duration

	mu     sync.Mutex
	asked  int
	ctxErr []error // of the rounds that were cancelled
}

func newAsker(t *testing.T, maxBytes int, keeps bool) *asker {
	var wg sync.WaitGroup
	t.Cleanup(wg.Wait)
	return &asker{
		x:     newRounds[int](t.Context(), func(f func()) bool { wg.Go(f); return true }, maxBytes, keeps),
		bytes: 1, takes: 100 * time.Millisecond,
	}
}

func (a *asker) ask(ctx context.Context) (int, int, error) {
	a.mu.Lock()
	a.asked++
	n := a.asked
	a.mu.Unlock()
	select {
	case <-time.After(a.takes):
		return n, a.bytes, nil
	case <-ctx.Done():
		a.mu.Lock()
		a.ctxErr = append(a.ctxErr, ctx.Err())
		a.mu.Unlock()
		return 0, 0, ctx.Err()
	}
}

func (a *asker) get(ctx context.Context, q string, came uint64) (int, func(), error) {
	return a.x.get(ctx, questionOf(q), came, a.ask)
}

func (a *asker) held() int {
	a.x.mu.Lock()
	defer a.x.mu.Unlock()
	return a.x.bytes
}

// A request that comes while a round is under way does not get its answer, and shares the next round.
func TestRoundsAreShared(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := newAsker(t, 100, false)
		var all sync.WaitGroup
		for wave, want := range []int{1, 2, 2, 2} {
			for range 250 {
				all.Go(func() {
					came := a.x.enter()
					defer a.x.leave()
					n, release, err := a.get(t.Context(), "q", came)
					if wave > 0 && (err != nil || n != want) {
						t.Errorf("got %d, %v, want %d", n, err, want)
					}
					if err == nil {
						release()
					}
				})
			}
			time.Sleep(10 * time.Millisecond)
		}
		all.Wait()
		if a.asked != 2 || len(a.x.tables) != 0 || a.x.bytes != 0 {
			t.Errorf("asked %d times, %d tables and %d bytes are left", a.asked, len(a.x.tables), a.x.bytes)
		}
	})
}

// A slow round does not hold up the requests that came after it began, and these share few rounds.
func TestRoundsHaveLimitedPatience(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := newAsker(t, 100, false)
		a.takes = time.Hour
		var all sync.WaitGroup
		ctx, cancel := context.WithCancel(t.Context())
		for range 100 {
			all.Go(func() {
				if _, _, err := a.get(ctx, "q", a.x.enter()); !errors.Is(err, context.Canceled) {
					t.Errorf("got %v", err)
				}
			})
			time.Sleep(30 * time.Millisecond) // 3 s in all
		}
		synctest.Wait()
		if a.asked != 3 {
			t.Errorf("asked %d times in 3 s", a.asked)
		}
		cancel()
		all.Wait()
		synctest.Wait()
		if len(a.ctxErr) != a.asked || len(a.x.tables) != 0 {
			t.Errorf("of %d rounds that nobody waits for %d were cancelled; %d tables are left",
				a.asked, len(a.ctxErr), len(a.x.tables))
		}
	})
}

// A round goes on while one request waits for it. A request that comes after all have left asks again.
func TestRoundsEndWithTheLastRequest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := newAsker(t, 100, false)
		came := a.x.enter()
		first, leave := context.WithCancel(t.Context())
		var all sync.WaitGroup
		for i, want := range []error{context.Canceled, nil} {
			all.Go(func() {
				ctx := t.Context()
				if i == 0 {
					ctx = first
				}
				if _, _, err := a.get(ctx, "q", came); !errors.Is(err, want) {
					t.Errorf("request %d got %v", i, err)
				}
			})
		}
		synctest.Wait()
		leave()
		all.Wait()
		if a.asked != 1 || len(a.ctxErr) != 0 {
			t.Errorf("asked %d times, %d were given up", a.asked, len(a.ctxErr))
		}
	})
}

// A kept answer serves requests that came before it was read and ask later, up to a bound, and until they have left.
func TestRoundsKeep(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := newAsker(t, 10, true)
		came := a.x.enter()
		get := func(q string, came uint64, want int) {
			t.Helper()
			n, release, err := a.get(t.Context(), q, came)
			if err != nil || n != want {
				t.Errorf("%s: got %d, %v, want %d", q, n, err, want)
			}
			release()
		}
		get("first", came, 1)
		get("first", came, 1)
		late := a.x.enter()
		get("first", late, 2)
		get("first", came, 2) // a newer answer is as good
		for i := range 20 {
			get(fmt.Sprint(i), came, i+3)
		}
		if len(a.x.kept) != 10 || a.x.bytes != 10 || len(a.x.tables) != 10 {
			t.Errorf("%d are kept with %d bytes, in %d tables", len(a.x.kept), a.x.bytes, len(a.x.tables))
		}
		get("19", came, 22)
		get("0", came, 23)
		a.x.leave()
		a.x.leave()
		if len(a.x.kept) != 0 || a.x.bytes != 0 || len(a.x.tables) != 0 {
			t.Errorf("without requests %d are kept with %d bytes, in %d tables",
				len(a.x.kept), a.x.bytes, len(a.x.tables))
		}
	})
}

// Answers that are held until they are sent have a bound. One that is alone always fits.
func TestRoundsRefuseWhatDoesNotFit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := newAsker(t, 10, false)
		a.bytes = 11
		_, release, err := a.get(t.Context(), "a", 0)
		if err != nil {
			t.Fatal(err)
		}
		a.bytes = 1
		if _, _, err := a.get(t.Context(), "b", 0); err == nil || a.held() != 11 {
			t.Errorf("got %v, and %d bytes are held", err, a.held())
		}
		release()
		if _, _, err := a.get(t.Context(), "b", 0); err != nil || a.held() != 1 {
			t.Errorf("got %v, and %d bytes are held", err, a.held())
		}
	})
}

func TestRoundsOfAClosedGateway(t *testing.T) {
	x := newRounds[int](t.Context(), func(func()) bool { return false }, 1, true)
	_, _, err := x.get(t.Context(), questionOf("q"), x.enter(), nil)
	if !errors.Is(err, context.Canceled) || len(x.tables) != 0 {
		t.Errorf("got %v, %d tables are left", err, len(x.tables))
	}
}
