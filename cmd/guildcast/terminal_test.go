//go:build linux

package main

import (
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/architus/guildcast/internal/test/wait"
)

// TestTerminalIsClosed closes the terminal in which somebody has started a node. The node must not live on.
func TestTerminalIsClosed(t *testing.T) {
	master, err := os.OpenFile("/dev/ptmx", os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Skip(err)
	}
	defer master.Close()
	raw, err := master.SyscallConn() // Fd would make Close wait for Read
	if err != nil {
		t.Skip(err)
	}
	var number int
	var unlocked error
	if err := raw.Control(func(fd uintptr) {
		number, err = unix.IoctlGetInt(int(fd), unix.TIOCGPTN)
		unlocked = unix.IoctlSetPointerInt(int(fd), unix.TIOCSPTLCK, 0)
	}); err != nil {
		t.Skip(err)
	}
	if err := errors.Join(err, unlocked); err != nil {
		t.Skip(err)
	}
	slave, err := os.OpenFile(fmt.Sprintf("/dev/pts/%d", number), os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Skip(err)
	}
	addr := freeAddr(t)
	cmd := exec.CommandContext(t.Context(), os.Args[0], "--demo", "--addr", addr, "--grace", "100ms")
	cmd.Env = []string{asCommand + "=1"}
	cmd.Stdin, cmd.Stdout, cmd.Stderr = slave, slave, slave
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: true}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	slave.Close()
	go func() { // what the node writes
		for buffer := make([]byte, 4096); ; {
			if _, err := master.Read(buffer); err != nil {
				return
			}
		}
	}()
	wait.Until(t, "the node", func() bool {
		connection, err := net.Dial("tcp", addr)
		if err == nil {
			connection.Close()
		}
		return err == nil
	})
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	// The kernel sends SIGHUP to the session, as when a terminal's window is closed.
	if err := master.Close(); err != nil {
		t.Fatal(err)
	}
	select {
	case err := <-ended:
		if err != nil {
			t.Errorf("the node ended with %v", err)
		}
	case <-time.After(time.Minute):
		_ = cmd.Process.Kill()
		t.Error("the node lives on")
	}
}
