//go:build linux

package main

import (
	"bytes"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"time"
)

// observationCases compare a node that is looked at with one that is not.
func observationCases() []benchCase {
	gateway := []string{"bin/guildcast", "serve"}
	plain := unlimited
	with := func(more ...string) []string { return append(slices.Clone(plain), more...) }
	traces := with("GUILDCAST_TRACES=true", "OTEL_EXPORTER_OTLP_ENDPOINT=http://"+collector())
	// the hash of a password that nobody has
	pages := with("GUILDCAST_ADMIN_UI=true",
		"GUILDCAST_ADMIN_UI_PASSWORD=$2a$10$JwLNcCPya38TqvbfYtFyfODXNi2JQE0h3qntpc72UPYVvqv1fXwKu")
	to1 := func(s *server, addr string) (float64, error) { return smallEvents(s, addr, 1) }
	to100 := func(s *server, addr string) (float64, error) { return smallEvents(s, addr, 100) }
	connect := func(s *server, _ string) (float64, error) { return churn(s, 4000) }
	admin, err := freeAddr()
	if err != nil {
		panic(err) // no socket can be had
	}
	profiled := with("GUILDCAST_ADMIN_ADDR=" + admin)
	return []benchCase{
		{name: "observation: traces, event to 1", unit: "µs", target: "(how much more)", redis: true,
			env: traces, against: plain, command: gateway, run: to1},
		{name: "observation: traces, event to 100", unit: "µs", target: "<= 1.03 x without", redis: true,
			env: traces, against: plain, command: gateway, run: to100, ok: atMost(1.03)},
		{name: "observation: all traced, event to 100", unit: "µs", target: "(how much more)", redis: true,
			env: append(slices.Clone(traces), "OTEL_TRACES_SAMPLER=always_on"), against: plain, command: gateway,
			run: to100},
		{name: "observation: histograms, event to 1", unit: "%", target: "(share of CPU)", redis: true, noNode: true,
			env: profiled, command: gateway, run: func(s *server, addr string) (float64, error) {
				return histogramShare(s, addr, admin, 1)
			}},
		{name: "observation: histograms, event to 100", unit: "%", target: "<= 3 % of CPU", redis: true, noNode: true,
			env: profiled, command: gateway, run: func(s *server, addr string) (float64, error) {
				return histogramShare(s, addr, admin, 100)
			}, ok: func(_, ours float64) bool { return ours <= 3 }},
		{name: "observation: admin UI, connect", unit: "µs", target: "(how much more)", redis: true,
			env: pages, against: plain, command: gateway, run: connect},
		{name: "observation: admin UI, production", unit: "µs", target: "(how much more)", redis: true,
			env:     append(slices.Clone(pages), "GUILDCAST_ADMIN_UI_MODE=production"),
			against: plain, command: gateway, run: connect},
	}
}

// smallEvents: CPU per event to few clients, with some 20,000 deliveries a second for some five seconds.
func smallEvents(s *server, addr string, clients int) (float64, error) {
	way, err := spectating("")
	if err != nil {
		return 0, err
	}
	way.clients, way.batch = clients, max(1, 20/clients)
	way.message = func(data string) string { // with ts, so that both latencies are observed
		return fmt.Sprintf(`{"kind":"guild","ts":%d,"payload":%s}`, time.Now().UnixMilli(), data)
	}
	every := time.Duration(clients*way.batch) * 50 * time.Microsecond
	cpu, err := way.cost(s, addr, 100_000/clients, every)
	return cpu * float64(clients), err
}

// histogramShare: the share of the node's CPU, in percent, in which histograms take note of events, by its own profile.
func histogramShare(s *server, addr, admin string, clients int) (float64, error) {
	const seconds = 10
	dir, err := os.MkdirTemp("", "bench")
	if err != nil {
		return 0, err
	}
	defer os.RemoveAll(dir)
	cmd := exec.Command("go", "tool", "pprof", "-top", "-cum", "-nodefraction=0", "-nodecount=100000",
		fmt.Sprintf("-seconds=%d", seconds), "http://"+admin+"/debug/pprof/profile")
	cmd.Env = append(os.Environ(), "PPROF_TMPDIR="+dir)
	var out, trouble bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &trouble
	if err := cmd.Start(); err != nil {
		return 0, err
	}
	profiled := make(chan error, 1)
	go func() { profiled <- cmd.Wait() }()
	for busy := true; busy; {
		if _, err := smallEvents(s, addr, clients); err != nil {
			return 0, errors.Join(err, <-profiled)
		}
		select {
		case err := <-profiled:
			if err != nil {
				return 0, fmt.Errorf("%w: %s", err, &trouble)
			}
			busy = false
		default:
		}
	}
	for line := range strings.Lines(out.String()) {
		// flat flat% sum% cum cum% name
		if f := strings.Fields(line); len(f) >= 6 && strings.HasSuffix(f[5], ".observeDelivery") {
			return strconv.ParseFloat(strings.TrimSuffix(f[4], "%"), 64)
		}
	}
	// No sample met one: it is less than one sample of 10 ms.
	_, total, _ := strings.Cut(out.String(), "Total samples = ")
	all, err := time.ParseDuration(strings.Fields(total + " none")[0])
	if err != nil {
		return 0, fmt.Errorf("the profile: %w", err)
	}
	return 100 * (10 * time.Millisecond).Seconds() / all.Seconds(), nil
}

// collector runs an OTLP collector that forgets what it is sent, for as long as the program runs.
func collector() (addr string) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "127.0.0.1:1" // where nobody listens: the cases say so
	}
	go func() { _ = http.Serve(l, http.HandlerFunc(func(http.ResponseWriter, *http.Request) {})) }()
	return l.Addr().String()
}
