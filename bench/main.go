//go:build linux

// Command bench measures guildcast beside Node.js' socket.io in the same run: the same raw clients against both
// servers, in turns, and the ratio of what the server process spends. CPU time is the process's own (user and system);
// it is steadier than wall time on a shared machine. A case that Node.js has nothing like is compared with a number of
// our own, or with its goal.
//
//	bench/run                 all cases
//	bench/run -case burst     those whose name contains "burst"; the one that is named so, where there is one
//	bench/run -rounds 5       the median of five rounds (default 3)
package main

import (
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// benchCase measures one number on one server.
type benchCase struct {
	name   string
	unit   string
	target string // what the project promises, for the table
	env    []string
	redis  bool // needs a Redis; both servers then run their adapter
	noNode bool // Node.js has no such thing, or would take minutes
	// command of our side; nil is the Go server of bench/server.
	command []string
	// run returns the number; s is fresh for each round.
	run func(s *server, redis string) (float64, error)
	// local takes the place of run if no server is needed.
	local func() (float64, error)
	// against is the env of the same command that ours is compared with, in place of Node.js.
	against []string
	// beside is run on bench/server, in place of Node.js, for a number to compare ours with.
	beside func(s *server, redis string) (float64, error)
	// ok judges the medians.
	ok func(reference, ours float64) bool
}

// row is one line of the results.
type row struct {
	Case      string  `json:"case"`
	Unit      string  `json:"unit"`
	Reference float64 `json:"reference"` // Node.js' number, or what the case names; 0 if there is none
	Go        float64 `json:"guildcast"`
	Ratio     float64 `json:"ratio"`
	Target    string  `json:"target"`
	OK        bool    `json:"ok"`
}

func main() {
	only := flag.String("case", "", "run the case of this name, or those whose name contains this")
	rounds := flag.Int("rounds", 3, "rounds; the median counts")
	out := flag.String("out", "", "also write the results as JSON to this file")
	dir := flag.String("bin", "bin", "folder with benchserver")
	skipNode := flag.Bool("only-go", false, "do not run Node (no ratio)")
	flag.Parse()
	rows, err := runAll(*only, *rounds, *dir, *skipNode)
	if *out != "" {
		b, _ := json.MarshalIndent(map[string]any{"date": time.Now().UTC().Format(time.DateOnly), "rows": rows}, "",
			"  ")
		if werr := os.WriteFile(*out, append(b, '\n'), 0o644); werr != nil {
			fmt.Fprintln(os.Stderr, werr)
		}
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

func runAll(only string, rounds int, bin string, skipNode bool) ([]row, error) {
	redis, stop, err := startRedis()
	if err != nil {
		return nil, err
	}
	defer stop()
	fmt.Printf("%-34s %12s %12s %7s  %-24s\n", "case", "reference", "guildcast", "ratio", "target")
	var rows []row
	for _, c := range chosen(only) {
		var reference, ours []float64
		for range rounds {
			v, known, err := c.compared(redis, bin, skipNode)
			if err != nil {
				return rows, fmt.Errorf("%s, reference: %w", c.name, err)
			}
			if known {
				reference = append(reference, v)
			}
			if v, err = c.own(redis, bin); err != nil {
				return rows, fmt.Errorf("%s, guildcast: %w", c.name, err)
			}
			ours = append(ours, v)
		}
		r := row{Case: c.name, Unit: c.unit, Reference: median(reference), Go: median(ours), Target: c.target}
		if r.Reference > 0 {
			r.Ratio = r.Go / r.Reference
		}
		r.OK = c.ok == nil || c.ok(r.Reference, r.Go)
		rows = append(rows, r)
		mark := "ok"
		if !r.OK {
			mark = "MISSED"
		}
		fmt.Printf("%-34s %9.2f %-2s %9.2f %-2s %7.3f  %-24s %s\n", r.Case, r.Reference, r.Unit, r.Go, r.Unit, r.Ratio,
			r.Target, mark)
	}
	return rows, nil
}

// chosen returns the case of that name, or else those whose name contains it.
func chosen(name string) (cs []benchCase) {
	for _, c := range cases() {
		if c.name == name {
			return []benchCase{c}
		}
		if strings.Contains(c.name, name) {
			cs = append(cs, c)
		}
	}
	return cs
}

// compared measures what ours is compared with, if anything.
func (c benchCase) compared(redis, bin string, skipNode bool) (v float64, known bool, err error) {
	switch {
	case c.against != nil:
		c.env = c.against
		v, err = c.own(redis, bin)
	case c.beside != nil:
		v, err = once(c, c.beside, redis, "engine", filepath.Join(bin, "benchserver"))
	case skipNode || c.noNode || c.local != nil:
		return 0, false, nil
	default:
		v, err = once(c, c.run, redis, "node", "node", "--expose-gc", "integration/nodejs/bench/server.mjs")
	}
	return v, true, err
}

func (c benchCase) own(redis, bin string) (float64, error) {
	switch {
	case c.local != nil:
		return c.local()
	case c.command != nil:
		return once(c, c.run, redis, "gateway", c.command[0], c.command[1:]...)
	}
	return once(c, c.run, redis, "engine", filepath.Join(bin, "benchserver"))
}

// once runs a case's measure on a fresh server.
func once(c benchCase, measure func(*server, string) (float64, error), redis, name, command string,
	args ...string) (float64, error) {
	env := slices.Clone(c.env)
	if c.redis {
		env = append(env, "REDIS_URL=redis://"+redis+"/0", "GUILDCAST_REDIS=redis://"+redis+"/0")
	}
	s, err := startServer(name, env, command, args...)
	if err != nil {
		return 0, err
	}
	defer s.stop()
	v, err := measure(s, redis)
	if err != nil {
		tail := s.log.String()
		return 0, fmt.Errorf("%w\n%s", err, tail[max(0, len(tail)-2000):])
	}
	return v, nil
}

func median(v []float64) float64 {
	if len(v) == 0 {
		return 0
	}
	v = slices.Sorted(slices.Values(v))
	return v[len(v)/2]
}

func startRedis() (addr string, stop func(), err error) {
	l, err := freeAddr()
	if err != nil {
		return "", nil, err
	}
	_, port, _ := strings.Cut(l, ":")
	cmd := exec.Command("redis-server", "--port", port, "--bind", "127.0.0.1", "--save", "", "--appendonly", "no")
	if err := cmd.Start(); err != nil {
		return "", nil, fmt.Errorf("redis-server: %w", err)
	}
	return l, func() { _ = cmd.Process.Kill(); _ = cmd.Wait() }, nil
}
