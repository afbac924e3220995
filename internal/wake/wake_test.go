package wake

import (
	"testing"
	"testing/synctest"
)

func TestManySendsAreOneWakeUp(t *testing.T) {
	s := New()
	if len(s) != 0 {
		t.Fatal("a new signal holds a wake-up")
	}
	for range 3 {
		s.Send()
	}
	<-s
	if len(s) != 0 {
		t.Fatal("three sends are more than one wake-up")
	}
}

// TestNothingIsForgotten has work left while the goroutine is at work: it must look once more.
func TestNothingIsForgotten(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, work, stop := New(), make(chan int, 100), make(chan struct{})
		done := 0
		go func() {
			for {
				select {
				case <-s:
				case <-stop:
					return
				}
				for len(work) > 0 {
					done += <-work
				}
			}
		}()
		for range 100 {
			work <- 1
			s.Send()
		}
		synctest.Wait()
		if done != 100 {
			t.Errorf("%d of 100 done", done)
		}
		close(stop)
	})
}
