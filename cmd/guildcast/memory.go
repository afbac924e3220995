package main

import (
	"errors"
	"log/slog"
	"math"
	"os"
	"runtime/debug"

	"github.com/KimMachineGun/automemlimit/memlimit"
)

// memory is the options of the garbage collector.
type memory struct {
	MemoryShare float64 `default:"0.9" placeholder:"SHARE" help:"Share of the container's memory (its cgroup's limit) from which on the garbage collector works harder, if GOMEMLIMIT is not set; 0 leaves it alone."`
}

func (m memory) valid() error {
	if !(m.MemoryShare >= 0 && m.MemoryShare <= 1) { // nor NaN
		return usagef("--memory-share: must be between 0 and 1")
	}
	return nil
}

// apply sets the soft limit of the process's memory to the share of what its cgroup may use, and logs which limit
// holds. GOMEMLIMIT wins. cgroup returns the limit of the cgroup.
func (m memory) apply(log *slog.Logger, cgroup func() (uint64, error)) {
	source := "GOMEMLIMIT"
	if os.Getenv(source) == "" && m.MemoryShare > 0 {
		limit, err := cgroup()
		switch {
		case err == nil && limit > 0 && limit < math.MaxInt64:
			source = "cgroup"
			debug.SetMemoryLimit(int64(float64(limit) * m.MemoryShare))
		case err != nil && !errors.Is(err, memlimit.ErrNoLimit) && !errors.Is(err, memlimit.ErrCgroupsNotSupported) &&
			!errors.Is(err, memlimit.ErrNoCgroup):
			log.Warn("memory limit of the cgroup can't be read", "err", err)
		}
	}
	if limit := debug.SetMemoryLimit(-1); limit < math.MaxInt64 { // a negative number changes nothing
		log.Info("memory limit of the garbage collector", "bytes", limit, "source", source)
	}
}
