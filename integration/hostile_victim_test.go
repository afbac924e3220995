//go:build integration

package integration

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"
	goredis "github.com/redis/go-redis/v9"

	"github.com/architus/guildcast/internal/test/sioclient"
	"github.com/architus/guildcast/internal/test/wait"
)

// release is guildcast without the race detector, which takes several times the memory.
var release = sync.OnceValues(func() (string, error) {
	path := filepath.Join(filepath.Dir(binary), "guildcast-release")
	build := exec.Command("go", "build", "-o", path, "../cmd/guildcast")
	build.Env = append(os.Environ(), "CGO_ENABLED=0") // as it is released
	out, err := build.CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("build guildcast: %w\n%s", err, out)
	}
	return path, nil
})

// victim is a node that is attacked while others use it.
type victim struct {
	*node
	addr  string
	redis *goredis.Client

	ctx     context.Context // of the attack
	end     context.CancelFunc
	crowds  sync.WaitGroup
	clients atomic.Int32 // of all crowds
	acts    atomic.Int64 // what they did, in the process of TestAttackers, which tells the test's own
}

// attacked runs a node, has attacks at it for a time, and checks that it never took more memory than is documented and
// that a bystander noticed nothing. The kernel keeps the peak of the memory, so that none is missed.
func attacked(t *testing.T, d time.Duration, attacks ...attack) {
	env := []string{"GUILDCAST_TRUSTED_PROXIES=127.0.0.1", "GUILDCAST_COMPRESSION=true"}
	for _, a := range attacks {
		env = append(env, a.env...)
	}
	path, err := release()
	if err != nil {
		t.Fatal(err)
	}
	server := startRedis(t)
	v := &victim{redis: goredis.NewClient(&goredis.Options{
		Addr: fmt.Sprint("127.0.0.1:", server.port), ReadTimeout: time.Minute, // it may be busy
	})}
	t.Cleanup(func() { v.redis.Close() })
	v.node = startNodeOf(t, path, "victim", server.url, env...)
	v.addr = strings.TrimPrefix(v.url, "http://")
	v.ctx, v.end = context.WithCancel(t.Context())
	defer v.end()
	for _, a := range attacks {
		if a.prepare != nil {
			a.prepare(t, v)
		}
	}
	idle := v.peak(t)
	b := newBystander(t, v)
	v.attack(t, server.url, attacks...)
	b.run(d)
	v.crowds.Wait()
	if v.ended() {
		t.Fatal("the node has ended")
	}
	b.check()
	peak, bound := v.peak(t), documented(attacks...)
	acts, clients := v.acts.Load(), int64(v.clients.Load())
	t.Logf("%d MiB of %d at most, %d when idle; %d acts of %d clients", peak, bound, idle, acts, clients)
	if peak > bound {
		t.Errorf("the node took %d MiB, at most %d are documented", peak, bound)
	}
	if acts < clients { // each has at least begun
		t.Errorf("only %d acts of %d clients: this was no attack", acts, clients)
	}
}

// lasts reports whether an attack that is meant to take d goes on: on a busy machine, until all clients have acted.
func (v *victim) lasts(since, d time.Duration) bool {
	return since < d || v.acts.Load() < int64(v.clients.Load()) && since < patience
}

// peak is the most memory that the node had resident so far, in MiB.
func (v *victim) peak(t *testing.T) (mib int) {
	t.Helper()
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", v.cmd.Process.Pid))
	if err != nil {
		t.Fatal(err)
	}
	_, after, _ := bytes.Cut(status, []byte("VmHWM:"))
	if _, err := fmt.Sscanf(string(after), "%d kB", &mib); err != nil {
		t.Fatal(err)
	}
	return mib / 1024
}

// crowd has n clients act again and again, each on a connection and, unless opts has one, with an address of its own;
// one that was cut connects again.
func (v *victim) crowd(n int, opts sioclient.Options, act func(c *sioclient.Conn) error) {
	for range n {
		i := v.clients.Add(1)
		opts := opts
		if !strings.Contains(opts.Headers, "X-Forwarded-For") {
			opts.Headers += fmt.Sprintf("X-Forwarded-For: 198.18.%d.%d\r\n", i>>8, i&0xff)
		}
		v.crowds.Go(func() {
			for v.ctx.Err() == nil {
				c, err := sioclient.Dial(v.addr, opts)
				if err != nil {
					continue // it may well refuse them
				}
				stop := context.AfterFunc(v.ctx, c.Close)
				for err == nil {
					if err = act(c); err == nil {
						v.acts.Add(1)
					}
				}
				stop()
				c.Close()
			}
		})
	}
}

// hold is a client's last act on a connection: to keep it until it is cut, or the attack ends.
func (v *victim) hold(c *sioclient.Conn) error {
	v.acts.Add(1)
	<-c.Done()
	return errHeld
}

var errHeld = errors.New("held")

// bystander is a member who spectates a guild with 20 events a second, and asks for a pool each second.
type bystander struct {
	t      *testing.T
	v      *victim
	client *sioclient.Conn
	token  string

	published, asked int

	mu       sync.Mutex      // guards all below
	late     []time.Duration // of each event, in their order
	answered int
	wrong    []string
}

const bystanderPause = 50 * time.Millisecond

func newBystander(t *testing.T, v *victim) *bystander {
	t.Helper()
	b := &bystander{t: t, v: v, token: mint(t, jwt.MapClaims{"sub": "77", "guilds": guilds{guild: 0}})}
	if err := v.redis.HSet(v.ctx, "guildcast:pool:{"+guild+"}:channel", "1", `{"id":"1"}`).Err(); err != nil {
		t.Fatal(err)
	}
	ready := make(chan struct{})
	var err error
	b.client, err = sioclient.Dial(v.addr, sioclient.Options{Auth: auth(b.token), OnEvent: func(p []byte) {
		if bytes.HasPrefix(p, []byte(`["spectate_return",{"success":true`)) {
			close(ready)
			return
		}
		b.hear(p)
	}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(b.client.Close)
	b.send(`42["spectate",{"guild_id":%q,"token":%q}]`, guild, b.token)
	select {
	case <-ready:
	case <-time.After(patience):
		t.Fatal("the bystander does not spectate")
	}
	return b
}

func (b *bystander) send(format string, args ...any) {
	if err := b.client.Send(fmt.Sprintf(format, args...)); err != nil {
		b.t.Errorf("the bystander: %v", err)
	}
}

// hear runs on the connection's reader.
func (b *bystander) hear(p []byte) {
	now := time.Now()
	b.mu.Lock()
	defer b.mu.Unlock()
	var args []json.RawMessage
	var body struct{ At int64 }
	switch err := json.Unmarshal(p, &args); {
	case err == nil && len(args) == 2 && string(args[0]) == `"log_pool"` && json.Unmarshal(args[1], &body) == nil:
		b.late = append(b.late, now.Sub(time.Unix(0, body.At)))
	case bytes.HasPrefix(p, []byte(`["pool_response"`)) && bytes.Contains(p, []byte(`"finished":true`)):
		b.answered++
	case !bytes.HasPrefix(p, []byte(`["request_elevation_return",{"success":true`)):
		b.wrong = append(b.wrong, string(p))
	}
}

// run publishes and asks for as long as the attack lasts, ends it, and then waits for what is still on its way.
func (b *bystander) run(d time.Duration) {
	tick := time.NewTicker(bystanderPause)
	defer tick.Stop()
	for begun := time.Now(); b.v.lasts(time.Since(begun), d); {
		event := fmt.Sprintf(`{"kind":"guild","payload":{"at":%d}}`, time.Now().UnixNano())
		if err := b.v.redis.Publish(b.t.Context(), guild, event).Err(); err != nil {
			b.t.Fatal(err)
		}
		if b.published++; b.published%int(time.Second/bystanderPause) == 1 {
			b.asked++
			b.send(`42["pool",{"type":"channel","guild_id":%q,"token":%q}]`, guild, b.token)
		}
		<-tick.C
	}
	b.v.end()
	wait.Until(b.t, "what the bystander is to get", func() bool {
		b.mu.Lock()
		defer b.mu.Unlock()
		return len(b.wrong) > 0 || len(b.late) == b.published && b.answered == b.asked
	})
}

func (b *bystander) check() {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, p := range b.wrong {
		b.t.Errorf("the bystander got %.300s", p)
	}
	const most = 100 * time.Millisecond
	late := slices.Sorted(slices.Values(b.late))
	if len(late) == 0 {
		b.t.Fatal("the bystander got nothing")
	}
	p99 := late[len(late)*99/100]
	b.t.Logf("%d events of the bystander: p50 %v, p99 %v, at most %v; %d pools",
		len(late), late[len(late)/2], p99, late[len(late)-1], b.answered)
	if !onTime(p99, most) {
		b.t.Errorf("p99 %v, at most %v are allowed", p99, most)
	}
}
