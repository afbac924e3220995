package main

import (
	"bytes"
	"errors"
	"io/fs"
	"log/slog"
	"math"
	"runtime/debug"
	"strings"
	"testing"

	"github.com/KimMachineGun/automemlimit/memlimit"
)

func TestMemoryLimit(t *testing.T) {
	before := debug.SetMemoryLimit(-1)
	t.Cleanup(func() { debug.SetMemoryLimit(before) })
	const gib = 1 << 30
	for _, c := range []struct {
		name   string
		env    string
		share  float64
		cgroup uint64
		err    error
		want   int64
		log    string
	}{
		{"limited", "", 0.5, 8 * gib, nil, 4 * gib, "source=cgroup"},
		{"given", "6GiB", 0.5, 8 * gib, nil, math.MaxInt64, ""}, // the runtime has read it at the start
		{"switched off", "", 0, 8 * gib, nil, math.MaxInt64, ""},
		{"without limit", "", 0.9, 0, memlimit.ErrNoLimit, math.MaxInt64, ""},
		{"without cgroups", "", 0.9, 0, memlimit.ErrCgroupsNotSupported, math.MaxInt64, ""},
		{"limit that is none", "", 0.9, math.MaxUint64, nil, math.MaxInt64, ""},
		{"unreadable", "", 0.9, 0, fs.ErrPermission, math.MaxInt64, "level=WARN"},
	} {
		debug.SetMemoryLimit(math.MaxInt64)
		t.Setenv("GOMEMLIMIT", c.env)
		var log bytes.Buffer
		cgroup := func() (uint64, error) { return c.cgroup, c.err }
		memory{c.share}.apply(slog.New(slog.NewTextHandler(&log, nil)), cgroup)
		if got := debug.SetMemoryLimit(-1); got != c.want {
			t.Errorf("%s: the limit is %d, want %d", c.name, got, c.want)
		}
		if !strings.Contains(log.String(), c.log) || c.log == "" && log.Len() > 0 {
			t.Errorf("%s: the log says %q, want %q", c.name, log.String(), c.log)
		}
	}
	for share, ok := range map[float64]bool{0: true, 1: true, -0.1: false, 1.1: false, math.NaN(): false} {
		if err := (memory{share}).valid(); (err == nil) != ok {
			t.Errorf("a share of %v: %v", share, err)
		}
	}
}

// TestMemoryLimitOfThisProcess reads what this machine says, whatever it is.
func TestMemoryLimitOfThisProcess(t *testing.T) {
	limit, err := memlimit.FromCgroup()
	if err == nil && limit == 0 || err != nil && limit != 0 {
		t.Errorf("%d, %v", limit, err)
	}
	if err != nil && !errors.Is(err, memlimit.ErrNoLimit) && !errors.Is(err, memlimit.ErrCgroupsNotSupported) &&
		!errors.Is(err, memlimit.ErrNoCgroup) {
		t.Errorf("the limit of this machine: %v", err)
	}
}
