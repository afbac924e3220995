//go:build linux

package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// server is a server process under test.
type server struct {
	name string
	addr string
	cmd  *exec.Cmd
	log  bytes.Buffer
}

// stats are what a server says of itself at /stats.
type stats struct {
	Heap       float64 `json:"heap"` // bytes
	Goroutines int     `json:"goroutines"`
}

func startServer(name string, env []string, command string, args ...string) (*server, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	addr := l.Addr().String()
	l.Close()
	s := &server{name: name, addr: addr, cmd: exec.Command(command, args...)}
	s.cmd.Env = append(append(os.Environ(), "ADDR="+addr, "GUILDCAST_ADDR="+addr), env...)
	s.cmd.Stdout, s.cmd.Stderr = &s.log, &s.log
	if err := s.cmd.Start(); err != nil {
		return nil, fmt.Errorf("start %s: %w", name, err)
	}
	ready := "/stats"
	if name == "gateway" {
		ready = "/readyz"
	}
	for deadline := time.Now().Add(20 * time.Second); ; time.Sleep(20 * time.Millisecond) {
		if err := s.get(ready, nil); err == nil {
			return s, nil
		}
		if time.Now().After(deadline) {
			s.stop()
			return nil, fmt.Errorf("%s did not start: %s", name, s.log.String())
		}
	}
}

func (s *server) stop() {
	_ = s.cmd.Process.Signal(syscall.SIGKILL)
	_ = s.cmd.Wait()
}

func (s *server) stats() (st stats, err error) {
	err = s.get("/stats", &st)
	return st, err
}

// gc runs the collector of the process and lets it give memory back.
func (s *server) gc() error { return s.get("/gc", nil) }

func (s *server) get(path string, v any) error {
	client := http.Client{Timeout: 30 * time.Second, Transport: &http.Transport{DisableKeepAlives: true}}
	res, err := client.Get("http://" + s.addr + path)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	if res.StatusCode != http.StatusOK {
		return fmt.Errorf("%s%s: %s", s.name, path, res.Status)
	}
	if v == nil {
		return nil
	}
	return json.NewDecoder(res.Body).Decode(v)
}

// rss returns the resident memory in bytes.
func (s *server) rss() float64 {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/statm", s.cmd.Process.Pid))
	if err != nil {
		return 0
	}
	pages, _ := strconv.Atoi(strings.Fields(string(b))[1])
	return float64(pages * os.Getpagesize())
}

// cpu returns the CPU time, in µs, that the server spends while f runs.
func (s *server) cpu(f func() error) (float64, error) { return cpuOf(s.cmd.Process.Pid, f) }

// cpuOf returns the CPU time, in µs, that a process spends while f runs: user and system, by the kernel's own clock of
// the process, which counts nanoseconds and asks nothing of it.
func cpuOf(pid int, f func() error) (float64, error) {
	before, err := clockOf(pid)
	if err != nil {
		return 0, err
	}
	if err := f(); err != nil {
		return 0, err
	}
	after, err := clockOf(pid)
	return float64(after-before) / 1e3, err
}

// clockOf reads the clock of a process, which counts the CPU time of all of its threads, in ns.
func clockOf(pid int) (int64, error) {
	const scheduled = 2 // CPUCLOCK_SCHED; see clock_getcpuclockid(3) and MAKE_PROCESS_CPUCLOCK in the kernel
	var t unix.Timespec
	if err := unix.ClockGettime(int32(^pid<<3|scheduled), &t); err != nil {
		return 0, fmt.Errorf("read the CPU clock of process %d: %w", pid, err)
	}
	return t.Nano(), nil
}
