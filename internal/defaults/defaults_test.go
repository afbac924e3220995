package defaults

import (
	"math"
	"testing"
)

func TestPositive(t *testing.T) {
	for v, want := range map[float64]float64{1: 1, 0.5: 0.5, 0: 7, -1: 7, math.Inf(-1): 7, math.Inf(1): math.Inf(1)} {
		if got := Positive(v, 7); got != want {
			t.Errorf("Positive(%v, 7) is %v, not %v", v, got, want)
		}
	}
	if got := Positive(math.NaN(), 7); got != 7 {
		t.Errorf("a value that is no number stays: %v", got)
	}
}
