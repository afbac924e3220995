//go:build unix

package relay_test

import "syscall"

// What freezes a process, and what lets it go on.
const (
	sigStop = syscall.SIGSTOP
	sigCont = syscall.SIGCONT
)
