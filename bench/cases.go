//go:build linux

package main

import (
	"bytes"
	"errors"
	"fmt"
	"net"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/architus/guildcast/internal/test/sioclient"
)

func atMost(limit float64) func(node, ours float64) bool {
	return func(node, ours float64) bool { return node == 0 || ours <= limit*node }
}

func cases() []benchCase {
	cs := []benchCase{
		{name: "burst 500 clients", unit: "µs", target: "<= 1.0 µs, <= 0.1",
			run: func(s *server, _ string) (float64, error) { return burst(s, 500, 1000, 200) },
			ok:  func(node, ours float64) bool { return ours <= 1 && (node == 0 || ours <= 0.1*node) }},
		{name: "burst 2000 clients", unit: "µs", target: "<= 1.5 µs",
			run: func(s *server, _ string) (float64, error) { return burst(s, 2000, 500, 200) },
			ok:  func(_, ours float64) bool { return ours <= 1.5 }},
		{name: "paced 1000 clients", unit: "µs", target: "<= 0.7",
			run: func(s *server, _ string) (float64, error) {
				return paced(s, 1000, 100, 200, 50*time.Millisecond)
			}, ok: atMost(0.7)},
		{name: "private rooms 2000", unit: "µs", target: "<= 0.5",
			run: func(s *server, _ string) (float64, error) {
				return privateRooms(s, 2000, 100_000, 200)
			}, ok: atMost(0.5)},
		{name: "echo with ack, closed loop", unit: "µs", target: "<= 0.9",
			run: func(s *server, _ string) (float64, error) { return echo(s, 50, 400, 0) }, ok: atMost(0.9)},
		{name: "echo with ack, paced", unit: "µs", target: "<= 0.9",
			run: func(s *server, _ string) (float64, error) {
				return echo(s, 200, 50, 100*time.Millisecond)
			}, ok: atMost(0.9)},
		{name: "connect and disconnect", unit: "µs", target: "<= 0.5",
			run: func(s *server, _ string) (float64, error) { return churn(s, 4000) }, ok: atMost(0.5)},
		{name: "heartbeats 2000 clients", unit: "µs", target: "<= 0.3", env: []string{"PING_INTERVAL=1000"},
			run: func(s *server, _ string) (float64, error) {
				return heartbeats(s, 2000, 10*time.Second)
			}, ok: atMost(0.3)},
		{name: "idle memory 8000", unit: "KB", target: "<= 0.65",
			run: func(s *server, _ string) (float64, error) { return memory(s, "", 8000) }, ok: atMost(0.65)},
		{name: "idle memory 8000, browser headers", unit: "KB", target: "<= 10 KB",
			run: func(s *server, _ string) (float64, error) { return memory(s, sioclient.BrowserHeaders, 8000) },
			ok:  func(_, ours float64) bool { return ours <= 10 }},
	}
	return slices.Concat(cs, compressedCases(), leftCases(), stalledCases(), clusterCases(), gatewayCases(),
		historyCases(), observationCases())
}

var errTimeout = errors.New("not all messages arrived in time")

// waitAll waits until done is closed, a minute at most.
func waitAll(done <-chan struct{}, what func() string) error {
	select {
	case <-done:
		return nil
	case <-time.After(60 * time.Second):
		return fmt.Errorf("%w: %s", errTimeout, what())
	}
}

// audience is a set of clients in a room that checks that each gets messages 0 to n-1, in order.
type audience struct {
	conns []*sioclient.Conn
	want  int64
	got   atomic.Int64
	wrong atomic.Int64
	done  chan struct{}
}

// gather connects n clients and has each join the room that roomOf names.
func gather(s *server, n int, headers string, ordered bool, roomOf func(i int) string) (*audience, error) {
	a := &audience{done: make(chan struct{})}
	var joined sync.WaitGroup
	joined.Add(n)
	cs, err := sioclient.DialMany(s.addr, n, func(int) sioclient.Options {
		next := 0
		return sioclient.Options{Headers: headers, OnEvent: func(p []byte) {
			if p[0] == '0' || p[0] == '1' { // the ack of join: 0[]
				joined.Done()
				return
			}
			i := number(p, `["m",`)
			if i < 0 || ordered && i != next {
				a.wrong.Add(1)
			}
			next++
			a.count()
		}}
	})
	if err != nil {
		return nil, err
	}
	a.conns = cs
	for i, c := range cs {
		if err := c.Send(fmt.Sprintf(`420["join",%q]`, roomOf(i))); err != nil {
			return nil, err
		}
	}
	joined.Wait()
	return a, nil
}

// expect starts a new count.
func (a *audience) expect(n int) {
	a.got.Store(0)
	a.done = make(chan struct{})
	atomic.StoreInt64(&a.want, int64(n))
}

// count is called for each message.
func (a *audience) count() {
	if a.got.Add(1) == atomic.LoadInt64(&a.want) {
		close(a.done)
	}
}

func (a *audience) wait() error {
	err := waitAll(a.done, func() string { return fmt.Sprintf("%d of %d", a.got.Load(), a.want) })
	if err == nil && a.wrong.Load() > 0 {
		err = fmt.Errorf("%d messages out of order", a.wrong.Load())
	}
	return err
}

// burst: CPU per delivered message of n broadcasts, in one go, to a room of clients.
func burst(s *server, clients, n, size int) (float64, error) {
	return ordered(s, clients, n, fmt.Sprintf(`42["burst","room",%d,%d]`, n, size))
}

// paced: the same with pauses.
func paced(s *server, clients, n, size int, every time.Duration) (float64, error) {
	return ordered(s, clients, n, fmt.Sprintf(`42["paced","room",%d,%d,%d]`, n, size, every.Milliseconds()))
}

// ordered gathers clients in one room and has command send each of them n messages.
func ordered(s *server, clients, n int, command string) (float64, error) {
	a, err := gather(s, clients, "", true, func(int) string { return "room" })
	if err != nil {
		return 0, err
	}
	return a.cost(s, clients*n, command)
}

// privateRooms: CPU per message to random rooms of one member each.
func privateRooms(s *server, clients, n, size int) (float64, error) {
	a, err := gather(s, clients, "", false, func(i int) string { return fmt.Sprint("p", i) })
	if err != nil {
		return 0, err
	}
	return a.cost(s, n, fmt.Sprintf(`42["rooms",%d,%d,%d]`, n, clients, size))
}

// cost is the CPU per message until command, sent by one more client, has brought n messages to a, which it then
// closes.
func (a *audience) cost(s *server, n int, command string) (float64, error) {
	defer sioclient.CloseAll(a.conns)
	control, err := sioclient.Dial(s.addr, sioclient.Options{})
	if err != nil {
		return 0, err
	}
	defer control.Close()
	a.expect(n)
	cpu, err := s.cpu(func() error {
		if err := control.Send(command); err != nil {
			return err
		}
		return a.wait()
	})
	return cpu / float64(n), err
}

// echo: CPU per round trip of an event with an acknowledgement; pause 0 is a closed loop.
func echo(s *server, clients, n int, pause time.Duration) (float64, error) {
	answers := make([]chan struct{}, clients)
	for i := range answers {
		answers[i] = make(chan struct{}, 1)
	}
	cs, err := sioclient.DialMany(s.addr, clients, func(i int) sioclient.Options {
		return sioclient.Options{OnEvent: func([]byte) { answers[i] <- struct{}{} }}
	})
	if err != nil {
		return 0, err
	}
	defer sioclient.CloseAll(cs)
	cpu, err := s.cpu(func() error {
		errs := make(chan error, clients)
		for i, c := range cs {
			go func() { errs <- roundTrips(c, answers[i], n, pause, time.Duration(i)*pause/time.Duration(clients)) }()
		}
		for range cs {
			if err := <-errs; err != nil {
				return err
			}
		}
		return nil
	})
	return cpu / float64(clients*n), err
}

func roundTrips(c *sioclient.Conn, answer <-chan struct{}, n int, pause, offset time.Duration) error {
	time.Sleep(offset)
	for i := range n {
		begin := time.Now()
		if err := c.Send(fmt.Sprintf(`42%d["echo","0123456789abcdef0123456789abcdef"]`, i)); err != nil {
			return err
		}
		select {
		case <-answer:
		case <-time.After(30 * time.Second):
			return errTimeout
		}
		if pause > 0 {
			time.Sleep(pause - time.Since(begin))
		}
	}
	return nil
}

// churn: CPU per connection that comes and goes.
func churn(s *server, n int) (float64, error) {
	round := func(n int) error {
		cs, err := sioclient.DialMany(s.addr, n, plain)
		sioclient.CloseAll(cs)
		return err
	}
	if err := round(500); err != nil { // warm
		return 0, err
	}
	cpu, err := s.cpu(func() error {
		for range n / 500 {
			if err := round(500); err != nil {
				return err
			}
		}
		return nil
	})
	return cpu / float64(n), err
}

// heartbeats: CPU per ping and pong of idle connections, pinged once a second.
func heartbeats(s *server, clients int, d time.Duration) (float64, error) {
	cs, err := sioclient.DialMany(s.addr, clients, plain)
	if err != nil {
		return 0, err
	}
	defer sioclient.CloseAll(cs)
	time.Sleep(time.Second)
	cpu, err := s.cpu(func() error { time.Sleep(d); return nil })
	return cpu / (float64(clients) * d.Seconds()), err
}

// memory: resident KB per idle connection, after the collector has run on both sides.
func memory(s *server, headers string, clients int) (float64, error) {
	withHeaders := func(int) sioclient.Options { return sioclient.Options{Headers: headers} }
	warm, err := sioclient.DialMany(s.addr, 100, withHeaders)
	sioclient.CloseAll(warm)
	if err != nil {
		return 0, err
	}
	if err := s.gc(); err != nil {
		return 0, err
	}
	before := s.rss()
	cs, err := sioclient.DialMany(s.addr, clients, withHeaders)
	if err != nil {
		return 0, err
	}
	defer sioclient.CloseAll(cs)
	if err := s.gc(); err != nil {
		return 0, err
	}
	time.Sleep(time.Second)
	if err := s.gc(); err != nil {
		return 0, err
	}
	return (s.rss() - before) / float64(clients) / 1024, nil
}

func freeAddr() (string, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	defer l.Close()
	return l.Addr().String(), nil
}

func plain(int) sioclient.Options { return sioclient.Options{} }

// number reads the decimal number that follows prefix in p, or -1.
func number(p []byte, prefix string) int {
	rest, ok := bytes.CutPrefix(p, []byte(prefix))
	if !ok {
		return -1
	}
	end := 0
	for end < len(rest) && rest[end] >= '0' && rest[end] <= '9' {
		end++
	}
	n, err := strconv.Atoi(string(rest[:end]))
	if err != nil {
		return -1
	}
	return n
}
