// Package race says in tests whether the race detector is on.
package race

// Rounds returns all, or few under the race detector, which makes code five to ten times slower: a property needs its
// many rounds in `go test`, a data race shows in the first.
func Rounds[N int | uint64](all, few N) N {
	if Enabled {
		return few
	}
	return all
}
