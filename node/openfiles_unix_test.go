//go:build unix

package node_test

import (
	"syscall"
	"testing"
)

// openFiles returns how many files this process may have open.
func openFiles(t *testing.T) int {
	var files syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &files); err != nil {
		t.Fatal(err)
	}
	return int(min(uint64(files.Cur), 1<<30))
}
