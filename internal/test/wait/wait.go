// Package wait waits in tests for what another goroutine, connection or process does.
package wait

import (
	"testing"
	"time"
)

const (
	// patience is only ever used up by a test that fails: no machine is so slow.
	patience = time.Minute

	shortest = time.Millisecond
	longest  = 20 * time.Millisecond
)

// Until calls cond, at once and then again and again on the test's own goroutine, and returns when it is true. After a
// minute the test fails; what says in the message what has not happened, as in "the topic to be given up".
func Until(t testing.TB, what string, cond func() bool) {
	t.Helper()
	Within(t, patience, what, cond)
}

// Within is Until with another bound, for what takes several steps with bounds of their own.
func Within(t testing.TB, bound time.Duration, what string, cond func() bool) {
	t.Helper()
	begin := time.Now()
	for pause := shortest; !cond(); pause = min(pause*5/4, longest) {
		if time.Since(begin) > bound {
			t.Fatalf("waited %v for: %s", bound, what)
		}
		time.Sleep(pause)
	}
}
