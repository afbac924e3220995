package handlers

import (
	"fmt"
	"testing"
)

func TestLimitersForgetNobodyInUse(t *testing.T) {
	l := newLimiters(0.001, 2, 8)
	now := map[string]int{}
	for i := range 1000 {
		if l.allow("steady") {
			now["steady"]++
		}
		l.allow(fmt.Sprint(i)) // strangers
		if n := l.buckets.Len(); n > 8 {
			t.Fatalf("%d buckets are held", n)
		}
	}
	if now["steady"] > 2 {
		t.Fatalf("a key in use was allowed %d times: it was forgotten", now["steady"])
	}
}
