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
)

// server is a server process under test.
type server struct {
	name string
	addr string
	cmd  *exec.Cmd
	log  bytes.Buffer
	// kernel: the process has no /stats; the kernel's count, in steps of 10 ms, is taken.
	kernel bool
}

// stats are what a server says of itself at /stats.
type stats struct {
	CPU        float64 `json:"cpu_us"` // user and system, of the whole process
	Heap       float64 `json:"heap"`   // bytes
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
	if s.kernel = name == "gateway"; s.kernel {
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
	if s.kernel {
		st.CPU, err = s.ticks()
		return st, err
	}
	err = s.get("/stats", &st)
	return st, err
}

// ticks returns the CPU time of the process in µs, as the kernel counts it.
func (s *server) ticks() (float64, error) {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", s.cmd.Process.Pid))
	if err != nil {
		return 0, err
	}
	fields := strings.Fields(string(b[bytes.LastIndexByte(b, ')')+1:]))
	user, _ := strconv.ParseFloat(fields[11], 64)
	system, _ := strconv.ParseFloat(fields[12], 64)
	return (user + system) * 1e4, nil
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
func (s *server) cpu(f func() error) (float64, error) {
	before, err := s.stats()
	if err != nil {
		return 0, err
	}
	if err := f(); err != nil {
		return 0, err
	}
	after, err := s.stats()
	return after.CPU - before.CPU, err
}
