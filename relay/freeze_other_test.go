//go:build !unix

package relay_test

import "os"

// A system without signals: the first one fails the test that wants to freeze a process.
var (
	sigStop os.Signal
	sigCont os.Signal
)
