//go:build integration

package integration

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"strings"
	"sync"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"github.com/architus/guildcast/internal/test/sioclient"
	"github.com/architus/guildcast/internal/test/traffic"
)

// dashboard is one client of TestChaos. Its goroutine does random things and writes down what they change.
type dashboard struct {
	name  string
	world *world
	node  *chaosNode
	rng   *rand.Rand
	sign  func(jwt.MapClaims) string
	text  bool // uses the string form

	conn    *sioclient.Conn
	answers chan answer

	// Owned by run; read by the test after it has returned.
	now     state
	token   string
	user    int
	changes []change

	mu      sync.Mutex
	got     map[string]map[int]bool // guarded by mu
	last    map[string]int          // guarded by mu; number of the last message, to see the order
	gaps    []gap                   // guarded by mu
	told    bool                    // guarded by mu; of a gap
	trouble []string                // guarded by mu
	log     []string                // guarded by mu; the latest requests and answers, with their times
}

// note adds a line to the log that a complaint shows.
func (d *dashboard) note(what, event string, body []byte) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if len(d.log) == 8 {
		d.log = d.log[1:]
	}
	d.log = append(d.log, fmt.Sprintf("%s %s %s %s", time.Now().Format("05.000"), what, event, body))
}

type answer struct {
	event string
	body  json.RawMessage
}

func (d *dashboard) connect() (err error) {
	d.answers = make(chan answer, 64)
	d.conn, err = sioclient.Dial(strings.TrimPrefix(d.node.url, "http://"), sioclient.Options{OnEvent: d.hear})
	return err
}

// hear runs on the connection's reader.
func (d *dashboard) hear(p []byte) {
	var args []json.RawMessage
	var event string
	if json.Unmarshal(p, &args) != nil || len(args) < 2 || json.Unmarshal(args[0], &event) != nil {
		d.complain("strange event %s", p)
		return
	}
	if err := traffic.Event(event, args[1:]); err != nil {
		d.complain("not as the schemas say: %v", err)
	}
	if event == "resync" {
		d.resync(args[1])
		return
	}
	if event != "log_pool" && event != "log_other" {
		d.note("got", event, args[1])
		select {
		case d.answers <- answer{event, args[1]}:
		default:
			d.complain("too many answers: %s", p)
		}
		return
	}
	topic, i, err := chaosPayload(args[1])
	if err != nil || strings.HasSuffix(topic, "_logs") != (event == "log_other") {
		d.complain("strange payload %s", p)
		return
	}
	if d.text != (args[1][0] == '"') && i >= 0 {
		d.complain("payload in the other form: %s", p)
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if last, ok := d.last[topic]; ok && i <= last {
		d.trouble = append(d.trouble, fmt.Sprintf("%s: message %d after %d", topic, i, last))
	}
	d.last[topic] = i
	if d.got[topic] == nil {
		d.got[topic] = map[int]bool{}
	}
	d.got[topic][i] = true
}

// resync notes that events of a guild may have been missed up to now.
func (d *dashboard) resync(body json.RawMessage) {
	var r struct {
		Guild string `json:"guild_id"`
	}
	lost, late := d.node.lostAt.Load(), d.node.heardLate()
	if decodeEither(body, &r) != nil || lost == nil && !late {
		d.complain("strange resync %s", body)
		return
	}
	g := gap{guild: r.Guild, hi: d.world.published()}
	if !late {
		g.lo = *lost
	}
	d.mu.Lock()
	d.gaps, d.told = append(d.gaps, g), d.told || lost != nil
	d.mu.Unlock()
}

// heardLate reports whether Redis once took so long to answer that the node has told its clients of a gap, as it does
// on a machine with too much to do.
func (n *chaosNode) heardLate() bool { return strings.Contains(n.output(), "to answer") }

func (d *dashboard) complain(format string, args ...any) {
	d.mu.Lock()
	d.trouble = append(d.trouble, fmt.Sprintf(format, args...))
	d.mu.Unlock()
}

// run does random things until ctx ends or the node is gone.
func (d *dashboard) run(ctx context.Context) {
	defer d.conn.Close()
	for ctx.Err() == nil {
		var step func(context.Context) error
		switch {
		case !d.now.elevated:
			step = d.elevate
		case d.now.guild == "":
			step = d.spectate
		default:
			step = []func(context.Context) error{
				d.spectate, d.spectate, d.refresh, d.refresh, d.demote, d.expire, d.revoke, d.stop,
			}[d.rng.IntN(8)]
		}
		if err := step(ctx); err != nil {
			if d.node.dead.Load() {
				return
			}
			if ctx.Err() == nil {
				d.mu.Lock()
				log := strings.Join(d.log, "\n\t")
				d.mu.Unlock()
				d.complain("%v; of late:\n\t%s", err, log)
			}
			return
		}
		select {
		case <-ctx.Done():
		case <-d.conn.Done():
		case <-time.After(time.Duration(100+d.rng.IntN(1500)) * time.Millisecond):
		}
	}
}

// do sends an event and waits for the answer called want; the change runs from the node's position before the event to
// the publisher's after the answer.
func (d *dashboard) do(event string, payload map[string]any, want string, after state) error {
	lo := d.node.witness.bounds()
	var arg any = payload
	if d.text {
		b, _ := json.Marshal(payload)
		arg = string(b)
	}
	text, _ := json.Marshal([]any{event, arg})
	d.note("sends", event, nil)
	if err := d.conn.Send("42" + string(text)); err != nil {
		return err
	}
	return d.await(want, lo, after)
}

func (d *dashboard) await(want string, lo map[string]int, after state) error {
	timeout := time.After(patience)
	back := d.world.back.Load()
	for {
		select {
		case a := <-d.answers:
			if a.event == "elevation_expiring" && want != a.event {
				continue
			}
			if a.event == "error" && strings.Contains(string(a.body), "redis_unavailable") && d.world.lost.Load() &&
				!back {
				return nil // nothing has changed
			}
			if want == "request_elevation_return" && strings.Contains(string(a.body), "token_expired") {
				return errLate // nothing has changed
			}
			if a.event != want || strings.Contains(string(a.body), `success":false`) ||
				strings.Contains(string(a.body), `success\":false`) {
				return fmt.Errorf("want %s, got %s %s", want, a.event, a.body)
			}
			d.changes = append(d.changes, change{lo: lo, hi: d.world.published(), after: after})
			d.now = after
			return nil
		case <-d.conn.Done():
			return fmt.Errorf("connection closed while waiting for %s", want)
		case <-timeout:
			d.complain("no %s", want) // also after the end of the test
			return fmt.Errorf("no %s", want)
		}
	}
}

// errLate is the refusal of a token that has expired on its way, on a busy machine.
var errLate = errors.New("the token has expired")

// certain returns, by topic, the message up to which the dashboard has certainly got all: the node had handled those
// before when it was asked last, and has answered.
func (d *dashboard) certain() map[string]int {
	if len(d.changes) == 0 {
		return nil
	}
	return d.changes[len(d.changes)-1].lo
}

// claims are random, but let the dashboard keep what it spectates: what a loss of membership does to a running
// spectate is not this test's subject.
func (d *dashboard) claims() (jwt.MapClaims, viewer) {
	v := viewer{Guilds: map[string]uint64{}, Admin: d.rng.IntN(20) == 0}
	for _, g := range chaosGuilds {
		if d.rng.IntN(2) == 0 || g == d.now.guild {
			v.Guilds[g] = []uint64{0, 0, 1, 2, 4, 6, 0x100, 0x300}[d.rng.IntN(8)]
		}
	}
	if g := d.now.guild; g != "" && d.now.logs {
		v.Guilds[g] |= bitPublicLogs
	}
	c := jwt.MapClaims{"sub": fmt.Sprint(d.user), "jti": fmt.Sprint(d.name, "-", d.rng.Uint64()), "guilds": v.Guilds}
	if d.rng.IntN(2) == 0 {
		bits := uint64(d.rng.IntN(8))
		v.Permissions = &bits
		c["permissions"] = bits
	}
	if v.Admin {
		c["architus_admin"] = true
	}
	return c, v
}

func (d *dashboard) elevate(ctx context.Context) error {
	d.user = 1_000_000_000 + int(d.rng.Int32())
	return d.elevateWith(nil)
}

func (d *dashboard) refresh(ctx context.Context) error { return d.elevateWith(nil) }

func (d *dashboard) elevateWith(extra jwt.MapClaims) error {
	c, v := d.claims()
	maps.Copy(c, extra)
	token := d.sign(c)
	after := d.now
	after.elevated, after.claims = true, v
	if err := d.do("request_elevation", map[string]any{"token": token}, "request_elevation_return", after); err != nil {
		return err
	}
	d.token = token
	return nil
}

func (d *dashboard) spectate(ctx context.Context) error {
	var mine []string
	for _, g := range chaosGuilds {
		if d.now.claims.member(g) {
			mine = append(mine, g)
		}
	}
	if len(mine) == 0 {
		return d.refresh(ctx)
	}
	after := d.now
	after.guild = mine[d.rng.IntN(len(mine))]
	after.logs = d.rng.IntN(2) == 0 && (d.now.claims.has(after.guild, bitPublicLogs) ||
		d.now.claims.has(after.guild, bitPrivateLogs))
	return d.do("spectate", map[string]any{"guild_id": after.guild, "include_logs": after.logs, "token": d.token},
		"spectate_return", after)
}

func (d *dashboard) stop(ctx context.Context) error {
	after := d.now
	after.guild, after.logs = "", false
	return d.do("spectate", map[string]any{"guild_id": nil, "token": d.token}, "spectate_return", after)
}

func (d *dashboard) demote(ctx context.Context) error {
	return d.do("demote", map[string]any{"token": d.token}, "elevation_expired", state{})
}

// expire takes a token that ends within three seconds, and waits for the end.
func (d *dashboard) expire(ctx context.Context) error {
	exp := time.Now().Add(2 * time.Second).Truncate(time.Second).Add(time.Second)
	lo := d.node.witness.bounds()
	if err := d.elevateWith(jwt.MapClaims{"exp": exp.Unix()}); errors.Is(err, errLate) {
		return nil
	} else if err != nil {
		return err
	}
	for left := time.Until(exp); left > 20*time.Millisecond; left = time.Until(exp) {
		time.Sleep(min(left-20*time.Millisecond, 50*time.Millisecond))
		if at := d.node.witness.bounds(); time.Now().Before(exp) { // else this goroutine has slept through the end
			lo = at
		}
	}
	if err := d.await("elevation_expired", lo, state{}); err != nil {
		return err
	}
	if late := time.Since(exp); !onTime(late, 2*time.Second) {
		return fmt.Errorf("expired %v after exp", late)
	}
	return nil
}

// revoke withdraws the token, by its user or its jti; the socket must be demoted, within a second.
func (d *dashboard) revoke(ctx context.Context) error {
	var c struct {
		JTI string `json:"jti"`
	}
	if err := decodeClaims(d.token, &c); err != nil {
		return err
	}
	message := fmt.Sprintf(`{"sub":"%d"}`, d.user)
	if d.rng.IntN(2) == 0 {
		message = fmt.Sprintf(`{"jti":%q}`, c.JTI)
	}
	d.world.revoking.RLock()
	defer d.world.revoking.RUnlock()
	lo := d.node.witness.bounds()
	begin := time.Now()
	if err := d.world.redis.Publish(ctx, "guildcast:revoke", message).Err(); err != nil {
		return err
	}
	if err := d.await("elevation_expired", lo, state{}); err != nil {
		return fmt.Errorf("after revoking %s: %w", message, err)
	}
	if took := time.Since(begin); !onTime(took, time.Second+raceAllowance) {
		return fmt.Errorf("revoked only after %v", took)
	}
	return nil
}

// raceAllowance is added where the contract names a time: the nodes run under the race detector, with hundreds of
// clients and the test itself on the same cores.
const raceAllowance = 2 * time.Second
