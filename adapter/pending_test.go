package adapter

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"reflect"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

func TestPending(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var p pending
		all, err := p.open("ask", "1", 2)
		if err != nil {
			t.Fatal(err)
		}
		some, _ := p.open("ask", "2", 3)
		if p.add("nobody", answer{}) {
			t.Error("an unknown request took an answer")
		}
		for _, uid := range []string{"a", "a", "b"} { // a answers twice
			p.add("1", answer{uid: uid})
		}
		p.add("2", answer{uid: "a"})
		p.add("2", answer{}) // Node.js does not sign
		<-all.done
		if got, err := p.end("1", all, nil); err != nil || len(got) != 2 {
			t.Errorf("got %v, %v", got, err)
		}
		// The last answer came at the same moment.
		if got, err := p.end("1", all, context.Canceled); err != nil || len(got) != 2 {
			t.Errorf("got %v, %v", got, err)
		}
		time.Sleep(time.Second)
		got, err := p.end("2", some, context.DeadlineExceeded)
		var e *IncompleteError
		if len(got) != 2 || !errors.As(err, &e) || !errors.Is(err, context.DeadlineExceeded) {
			t.Fatalf("got %v, %v", got, err)
		}
		if p.add("2", answer{}) || p.n.Load() != 0 {
			t.Error("the request is still there")
		}
		e.Missing = missing([]string{"self", "a", "b", "c"}, "self", got)
		if want := "ask: 2 of 3 servers answered within 1s, 1 missing of b, c"; e.Error() != want {
			t.Errorf("got %q, want %q", e, want)
		}
		e.Missing = e.Missing[:1]
		if want := "ask: 2 of 3 servers answered within 1s, 1 missing: b"; e.Error() != want {
			t.Errorf("got %q, want %q", e, want)
		}
		if m := missing([]string{"self", "a", "b"}, "self", got); m != nil { // b may be who did not sign
			t.Errorf("%q is called missing", m)
		}
	})
}

func TestPendingIsBounded(t *testing.T) {
	var p pending
	for range maxPending {
		if _, err := p.open("ask", randomID(12), 1); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := p.open("ask", "one more", 1); !errors.Is(err, errTooMany) {
		t.Errorf("got %v", err)
	}
}

func TestLane(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var wg sync.WaitGroup
		var log bytes.Buffer
		l := lane{limit: 3, logger: slog.New(slog.NewTextHandler(&log, nil)), wg: &wg}
		var ran []int
		add := func(n int) func() { return func() { ran = append(ran, n) } }

		if !l.postAndWait(add(1), time.Second) || len(ran) != 1 { // a quick one is waited for
			t.Fatal(ran)
		}
		for i := range 1000 { // so is one that is posted as soon as the one before it is done
			done := false
			if l.postAndWait(func() { time.Sleep(time.Millisecond); done = true }, time.Second); !done {
				t.Fatalf("number %d was not waited for", i)
			}
		}
		started := time.Now()
		l.postAndWait(func() { time.Sleep(time.Minute) }, time.Second)
		if d := time.Since(started); d != time.Second { // a slow one is not
			t.Errorf("waited %v", d)
		}
		started = time.Now()
		l.postAndWait(func() { panic("oh no") }, time.Second) // nor one that is behind it
		if d := time.Since(started); d != 0 {
			t.Errorf("waited %v", d)
		}
		l.post(add(2))
		l.post(add(3))
		if l.post(add(4)) {
			t.Error("a full lane took one more")
		}
		wg.Wait()
		if !reflect.DeepEqual(ran, []int{1, 2, 3}) || !strings.Contains(log.String(), "oh no") {
			t.Errorf("ran %v, log %s", ran, &log)
		}

		hold := make(chan struct{})
		l.post(func() { <-hold })
		synctest.Wait()
		l.post(add(5))
		l.close()
		close(hold)
		wg.Wait()
		if l.post(add(6)) || l.postAndWait(add(7), time.Second) || len(ran) != 3 {
			t.Errorf("a closed lane ran %v", ran)
		}
	})
}
