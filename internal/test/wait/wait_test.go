package wait

import (
	"fmt"
	"runtime"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// recorder is a test that keeps the reason of its failure.
type recorder struct {
	testing.TB
	failed string
}

func (r *recorder) Helper() {}

func (r *recorder) Fatalf(format string, args ...any) {
	r.failed = fmt.Sprintf(format, args...)
	runtime.Goexit()
}

func TestUntil(t *testing.T) {
	for _, tt := range []struct {
		name  string
		after time.Duration // when the condition holds
		fails bool
	}{
		{"at once", 0, false},
		{"soon", 30 * time.Millisecond, false},
		{"at the last moment", patience - longest, false},
		{"too late", patience + time.Second, true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := &recorder{TB: t}
				begin, calls := time.Now(), 0
				done := make(chan struct{})
				go func() { // Fatalf ends the goroutine
					defer close(done)
					Until(r, "the thing", func() bool { calls++; return time.Since(begin) >= tt.after })
				}()
				<-done
				if fails := r.failed != ""; fails != tt.fails || fails &&
					!strings.Contains(r.failed, "1m0s for: the thing") {
					t.Errorf("failed with %q", r.failed)
				}
				if took := time.Since(begin); !tt.fails && took > tt.after+longest {
					t.Errorf("took %v, with the condition true after %v", took, tt.after)
				}
				if tt.after == 0 && calls != 1 {
					t.Errorf("asked %d times", calls)
				}
			})
		})
	}
}
