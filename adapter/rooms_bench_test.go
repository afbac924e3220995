//go:build unix

package adapter

import (
	"bufio"
	"context"
	"fmt"
	"net"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/zishang520/engine.io/v2/types"
	"github.com/zishang520/socket.io/v2/socket"

	"github.com/architus/guildcast/adapter/internal/wire"
	"github.com/architus/guildcast/internal/test/redistest"
)

// BenchmarkPrivateRooms publishes messages to one of 3,000 private rooms, which are spread over three servers, by
// pattern and by room channels. Beside the time per message it reports the CPU time of the three servers (without
// clients) and of Redis per message, and the time that a join takes. See docs/decisions/0008-room-channels.md.
func BenchmarkPrivateRooms(b *testing.B) {
	for _, rooms := range []bool{false, true} {
		name := "pattern"
		if rooms {
			name = "rooms"
		}
		b.Run(name, func(b *testing.B) { benchmarkRooms(b, rooms) })
	}
}

func benchmarkRooms(b *testing.B, byRoom bool) {
	const servers, perServer = 3, 1000
	server := redistest.Start(b)
	client := server.Client()
	var adapters []*classic
	start := time.Now()
	for i := range servers {
		opts := socket.DefaultServerOptions()
		opts.SetAdapter(New(client, Options{PatternSubscription: !byRoom}))
		io := socket.NewServer(nil, opts)
		b.Cleanup(func() { io.Close(nil) })
		a := io.Of("/", nil).Adapter().(*classic)
		adapters = append(adapters, a)
		for j := range perServer {
			a.AddAll(socket.SocketId(fmt.Sprintf("id%d-%d", i, j)),
				types.NewSet(socket.Room(fmt.Sprintf("room%d-%d", i, j))))
		}
	}
	join := time.Since(start) / (servers * perServer)
	var commands [servers * perServer][]byte
	for n := range commands {
		room := fmt.Sprintf("room%d-%d", n%servers, n/servers)
		o := wire.Options{Rooms: wire.Rooms{Names: []string{room}}, Except: []string{room}}
		payload, err := wire.EncodeBroadcast("sender", "/", []any{"event", strings.Repeat("x", 200)}, o)
		if err != nil {
			b.Fatal(err)
		}
		commands[n] = publishCommand("socket.io#/#"+room+"#", payload)
	}
	conn, err := net.Dial("tcp", server.Addr())
	if err != nil {
		b.Fatal(err)
	}
	defer conn.Close()
	handled := func() (n uint64) {
		for _, a := range adapters {
			n += a.count.broadcasts.Load()
		}
		return n
	}
	cpu, redisCPU, n := processCPU(), serverCPU(b, client), 0
	replies := bufio.NewReader(conn)
	var batch []byte
	b.ResetTimer()
	for b.Loop() {
		batch = append(batch, commands[n%len(commands)]...)
		if n++; n%100 > 0 {
			continue
		}
		if _, err := conn.Write(batch); err != nil {
			b.Fatal(err)
		}
		batch = batch[:0]
		for range 100 {
			if _, err := replies.ReadSlice('\n'); err != nil {
				b.Fatal(err)
			}
		}
	}
	n -= n % 100 // what is left in the batch
	for handled() < uint64(n) {
		time.Sleep(time.Millisecond)
	}
	b.StopTimer()
	per := func(d time.Duration) float64 { return float64(d.Microseconds()) / float64(n) }
	b.ReportMetric(per(processCPU()-cpu), "cpu-µs/op")
	b.ReportMetric(per(serverCPU(b, client)-redisCPU), "redis-cpu-µs/op")
	b.ReportMetric(float64(join.Microseconds()), "join-µs")
}

func publishCommand(channel string, payload []byte) []byte {
	return fmt.Appendf(nil, "*3\r\n$7\r\npublish\r\n$%d\r\n%s\r\n$%d\r\n%s\r\n",
		len(channel), channel, len(payload), payload)
}

func processCPU() time.Duration {
	var r syscall.Rusage
	_ = syscall.Getrusage(syscall.RUSAGE_SELF, &r)
	return time.Duration(r.Utime.Nano() + r.Stime.Nano())
}

// serverCPU is the CPU time of Redis.
func serverCPU(b *testing.B, c redis.UniversalClient) time.Duration {
	info, err := c.Info(context.Background(), "cpu").Result()
	if err != nil {
		b.Fatal(err)
	}
	var sum float64
	for _, line := range strings.Split(info, "\r\n") {
		for _, name := range []string{"used_cpu_user:", "used_cpu_sys:"} {
			if v, ok := strings.CutPrefix(line, name); ok {
				f, _ := strconv.ParseFloat(v, 64)
				sum += f
			}
		}
	}
	return time.Duration(sum * 1e9)
}
