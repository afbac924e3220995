package redistest

import (
	_ "embed"
	"encoding/binary"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"testing"
	"time"
)

// Debian's faketime does not work with its redis-server: jemalloc asks for the time before there is a library to ask.
//
//go:embed testdata/clock.c
var clockSource []byte

// Clock is the wall clock of a Server that StartWithClock returned.
type Clock struct {
	tb   testing.TB
	file string // has how far it is off, in seconds
}

// StartWithClock is Start of a server whose wall clock can be set. It takes gcc, which
// scripts/setup installs.
func StartWithClock(tb testing.TB, args ...string) (*Server, *Clock) {
	tb.Helper()
	if runtime.GOOS != "linux" {
		tb.Skip("the clock of a process can't be set here")
	}
	dir := tb.TempDir()
	source, library := filepath.Join(dir, "clock.c"), filepath.Join(dir, "clock.so")
	if err := os.WriteFile(source, clockSource, 0o600); err != nil {
		tb.Fatal(err)
	}
	if out, err := exec.Command("gcc", "-shared", "-fPIC", "-O1", "-o", library, source).CombinedOutput(); err != nil {
		if Required() {
			tb.Fatalf("compile clock.c: %v\n%s", err, out)
		}
		tb.Skipf("compile clock.c: %v\n%s", err, out)
	}
	c := &Clock{tb, filepath.Join(dir, "off")}
	c.Set(0)
	s := startIn(tb, tb.TempDir(), []string{"LD_PRELOAD=" + library, "CLOCK_FILE=" + c.file}, args...)
	tb.Cleanup(s.Stop)
	return s, c
}

// Set has the clock show a time that is off from the right one.
func (c *Clock) Set(off time.Duration) {
	c.tb.Helper()
	f, err := os.OpenFile(c.file, os.O_CREATE|os.O_WRONLY, 0o600) // in place: the server has mapped it
	if err == nil {
		_, err = f.WriteAt(binary.NativeEndian.AppendUint64(nil, uint64(int64(off/time.Second))), 0)
		if e := f.Close(); err == nil {
			err = e
		}
	}
	if err != nil {
		c.tb.Fatal(err)
	}
}
