package service

import (
	"errors"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

func TestLife(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var l Life
		if !l.Enter() { // before Begin
			t.Fatal("nobody may enter before Begin")
		}
		if err := l.Begin(); err != nil {
			t.Fatal(err)
		}
		if err := l.Begin(); !errors.Is(err, ErrRunTwice) {
			t.Fatalf("a second Begin: %v", err)
		}
		var left atomic.Bool
		time.AfterFunc(time.Minute, func() {
			if l.Enter() {
				t.Error("entered while it ends")
			}
			left.Store(true)
			l.Leave()
		})
		if l.End(); !left.Load() {
			t.Fatal("End did not wait")
		}
		if l.Enter() {
			t.Fatal("entered after the end")
		}
		if err := l.Begin(); !errors.Is(err, ErrRunTwice) {
			t.Fatalf("Begin after the end: %v", err)
		}
	})
}
