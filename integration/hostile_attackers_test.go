//go:build integration

package integration

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	goredis "github.com/redis/go-redis/v9"
)

// The environment of TestAttackers.
const (
	envAttacks = "GUILDCAST_TEST_ATTACKS" // names, one a line
	envVictim  = "GUILDCAST_TEST_VICTIM"  // URL of the node
	envRedis   = "GUILDCAST_TEST_REDIS"   // its URL
)

func attacking() bool { return os.Getenv(envAttacks) != "" }

// attack has a process of its own attack the node until v.ctx ends, and counts in v what it does. Attackers are on
// other machines: the process gets what nobody else wants of the processor, or the bystander would wait for the
// attackers rather than for the node.
func (v *victim) attack(t *testing.T, redisURL string, attacks ...attack) {
	t.Helper()
	var names []string
	for _, a := range attacks {
		names = append(names, a.name)
	}
	attackers := exec.Command("nice", "-n", "19", os.Args[0], "-test.run", "^TestAttackers$", "-test.v")
	attackers.Env = append(os.Environ(),
		envAttacks+"="+strings.Join(names, "\n"), envVictim+"="+v.url, envRedis+"="+redisURL)
	attackers.Stderr = os.Stderr
	stdin, err := attackers.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	stdout, err := attackers.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := attackers.Start(); err != nil {
		t.Fatal(err)
	}
	context.AfterFunc(v.ctx, func() { stdin.Close() })
	begun := make(chan struct{})
	v.crowds.Go(func() {
		var said strings.Builder
		for lines := bufio.NewScanner(stdout); lines.Scan(); {
			var acts, clients int64
			if _, err := fmt.Sscanf(lines.Text(), "acts %d clients %d", &acts, &clients); err != nil {
				said.WriteString(lines.Text() + "\n")
				continue
			}
			if v.clients.Swap(int32(clients)) == 0 {
				close(begun)
			}
			v.acts.Store(acts)
		}
		if err := attackers.Wait(); err != nil {
			t.Errorf("the attackers: %v\n%s", err, &said)
		}
	})
	select {
	case <-begun:
	case <-time.After(patience):
		t.Fatal("the attack has not begun")
	}
}

// TestAttackers is what the process of victim.attack runs.
func TestAttackers(t *testing.T) {
	if !attacking() {
		t.Skip("the tests of hostile clients run it")
	}
	opts, err := goredis.ParseURL(os.Getenv(envRedis))
	if err != nil {
		t.Fatal(err)
	}
	opts.ReadTimeout = time.Minute // Redis may be busy
	v := &victim{node: &node{url: os.Getenv(envVictim)}, redis: goredis.NewClient(opts)}
	defer v.redis.Close()
	v.addr = strings.TrimPrefix(v.url, "http://")
	v.ctx, v.end = context.WithCancel(t.Context())
	for name := range strings.Lines(os.Getenv(envAttacks)) {
		for _, a := range attacks {
			if a.name == strings.TrimSpace(name) {
				a.begin(t, v)
			}
		}
	}
	go func() {
		_, _ = io.Copy(io.Discard, os.Stdin)
		v.end()
	}()
	tell := func() { fmt.Printf("acts %d clients %d\n", v.acts.Load(), v.clients.Load()) }
	tell()
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for v.ctx.Err() == nil {
		select {
		case <-tick.C:
		case <-v.ctx.Done():
		}
		tell()
	}
	v.crowds.Wait()
	tell()
}
