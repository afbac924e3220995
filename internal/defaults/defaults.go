// Package defaults fills in options that were not set.
//
// An option whose zero value alone stands for the default, since a negative one has a meaning of its own or it is no
// number, is filled in with cmp.Or. One that makes no sense unless it is positive is filled in with Positive.
package defaults

import "time"

// Positive returns v if it is positive, and otherwise the default.
func Positive[T int | float64 | time.Duration](v, otherwise T) T {
	if v > 0 {
		return v
	}
	return otherwise
}
