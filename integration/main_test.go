//go:build integration

// Package integration tests guildcast from outside: the built binary with real Redis servers, real Socket.IO clients
// and servers of Node.js, and real emitters of Node.js and Python.
package integration

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/architus/guildcast/internal/test/wait"
)

// binary is guildcast, built with the race detector: a race ends the process with exit code 66, which the tests that
// stop a node notice.
var binary string

func TestMain(m *testing.M) {
	if attacking() { // this is the process of TestAttackers, which needs no binary
		os.Exit(m.Run())
	}
	wait.Parallel()
	os.Exit(run(m))
}

func run(m *testing.M) int {
	dir, err := os.MkdirTemp("", "guildcast-integration")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(dir)
	binary = filepath.Join(dir, "guildcast")
	build := exec.Command("go", "build", "-race", "-o", binary, "../cmd/guildcast")
	build.Env = append(os.Environ(), "CGO_ENABLED=1")
	build.Stdout, build.Stderr = os.Stdout, os.Stderr
	if err := build.Run(); err != nil {
		fmt.Fprintln(os.Stderr, "build guildcast:", err)
		return 1
	}
	return m.Run()
}
