// Package processor keeps long pieces of work from having all processors at once. The Go scheduler gives each goroutine
// that can run up to 10 ms in turn: with a hundred of them, whatever else is to be done waits for a second.
package processor

import "runtime"

// long holds as many entries as pieces of long work may run at the same time: on half of the processors.
var long = make(chan struct{}, max(1, runtime.GOMAXPROCS(0)/2))

// Enter waits until a long piece of work may run, in the order of the calls. The caller must call Leave within some
// milliseconds, and must not wait for anything meanwhile.
func Enter() { long <- struct{}{} }

// Leave ends a piece of work that Enter has let run.
func Leave() { <-long }

// longText is the size in bytes from which a text takes long to read.
const longText = 16 << 10

// Read calls f, which reads a text of size bytes and waits for nothing. If that takes long it waits until f may run.
func Read(size int, f func()) {
	if size >= longText {
		Enter()
		defer Leave()
	}
	f()
}
