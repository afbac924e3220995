//go:build linux

// Command bench measures guildcast beside Node's socket.io in the same run: the same raw clients against both servers, in
// turns, and the ratio of what the server process spends. CPU time is the process's own (user and system); it is steadier
// than wall time on a shared machine.
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
	noNode bool // Node has no such thing, or would take minutes
	// command of our side; nil is the Go server of bench/server.
	command []string
	// run returns the number; s is fresh for each round.
	run func(s *server, redis string) (float64, error)
	// ok judges the medians.
	ok func(node, ours float64) bool
}

// row is one line of the results.
type row struct {
	Case   string  `json:"case"`
	Unit   string  `json:"unit"`
	Node   float64 `json:"node"`
	Go     float64 `json:"guildcast"`
	Ratio  float64 `json:"ratio"`
	Target string  `json:"target"`
	OK     bool    `json:"ok"`
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
		b, _ := json.MarshalIndent(map[string]any{"date": time.Now().UTC().Format(time.DateOnly), "rows": rows}, "", "  ")
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
	fmt.Printf("%-34s %12s %12s %7s  %-24s\n", "case", "node", "guildcast", "ratio", "target")
	var rows []row
	for _, c := range chosen(only) {
		var node, ours []float64
		for range rounds {
			if !skipNode && !c.noNode {
				v, err := once(c, redis, "node", "node", "--expose-gc", "integration/node/bench/server.mjs")
				if err != nil {
					return rows, fmt.Errorf("%s, node: %w", c.name, err)
				}
				node = append(node, v)
			}
			name, command := "engine", []string{filepath.Join(bin, "benchserver")}
			if c.command != nil {
				name, command = "gateway", c.command
			}
			v, err := once(c, redis, name, command[0], command[1:]...)
			if err != nil {
				return rows, fmt.Errorf("%s, guildcast: %w", c.name, err)
			}
			ours = append(ours, v)
		}
		r := row{Case: c.name, Unit: c.unit, Node: median(node), Go: median(ours), Target: c.target}
		if r.Node > 0 {
			r.Ratio = r.Go / r.Node
		}
		r.OK = c.ok == nil || c.ok(r.Node, r.Go)
		rows = append(rows, r)
		mark := "ok"
		if !r.OK {
			mark = "MISSED"
		}
		fmt.Printf("%-34s %9.2f %-2s %9.2f %-2s %7.3f  %-24s %s\n", r.Case, r.Node, r.Unit, r.Go, r.Unit, r.Ratio, r.Target, mark)
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

func once(c benchCase, redis, name, command string, args ...string) (float64, error) {
	env := slices.Clone(c.env)
	if c.redis {
		env = append(env, "REDIS_URL=redis://"+redis+"/0", "GUILDCAST_REDIS=redis://"+redis+"/0")
	}
	s, err := startServer(name, env, command, args...)
	if err != nil {
		return 0, err
	}
	defer s.stop()
	v, err := c.run(s, redis)
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
