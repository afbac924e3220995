//go:build integration

package integration

import (
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"github.com/architus/guildcast/history"
	"github.com/architus/guildcast/internal/test/sioclient"
	"github.com/architus/guildcast/internal/test/traffic"
)

// follower is a client of TestChaosDurable. Its goroutine, run, comes, stays, goes and comes back.
type follower struct {
	world *durableWorld
	name  string
	rng   *rand.Rand
	guild string
	logs  bool
	text  bool // uses the string form
	slow  bool // stops to read now and then
	user  int

	token  string
	rights [2]viewer     // before and after the change
	change time.Duration // after which it has lower or no rights; 0 is never
	revoke bool          // it loses all

	mu       sync.Mutex
	position *history.Position // of the last event, or of the first answer; nil before
	start    history.Position  // of the first answer
	got      []received
	phase    int // 0 before the change, 1 while it is on its way, 2 afterwards
	revoked  bool
	trouble  []string
}

// received is an event that came.
type received struct {
	position history.Position
	name     string
	payload  json.RawMessage
	phase    int
	strict   bool // the connection began after the policy had become stricter
}

func (f *follower) String() string { return f.name }

func (w *durableWorld) newFollower(t *testing.T, i int) *follower {
	f := &follower{
		world: w, rng: rand.New(rand.NewPCG(uint64(w.seed), uint64(100+i))), guild: durableGuilds[i%len(durableGuilds)],
		text: i%4 == 0, user: 1_000_000 + i,
	}
	none := uint64(0)
	bits := []uint64{
		0, bitPublicLogs, bitPublicLogs | bitPrivateLogs, bitAdministrator, bitPublicLogs | bitViewSettings,
	}
	b := bits[i/len(durableGuilds)%len(bits)]
	f.logs = b != 0
	f.rights[0] = viewer{Permissions: &none, Guilds: map[string]uint64{f.guild: b}}
	f.rights[1] = f.rights[0]
	f.slow = i%len(durableGuilds) == loudGuild && i%2 == 0
	switch {
	case i%6 == 4:
		f.change = 6 * time.Second
		f.rights[1].Guilds = map[string]uint64{f.guild: b & bitPublicLogs}
	case i%12 == 7:
		f.change, f.revoke = 8*time.Second, true
	}
	if f.rights[1].Guilds[f.guild] == 0 && f.change > 0 && !f.revoke {
		f.logs = false // so that the change does not end the spectating
	}
	f.name = fmt.Sprintf("client %d (rights %d, then %d, logs %t, slow %t, revoked %t)", i, b,
		f.rights[1].Guilds[f.guild], f.logs, f.slow, f.revoke)
	f.token = f.sign(0)
	return f
}

func (f *follower) sign(phase int) string {
	return f.world.sign(jwt.MapClaims{
		"sub": fmt.Sprint(f.user), "permissions": 0, "guilds": f.rights[phase].Guilds,
	})
}

func (f *follower) complain(format string, args ...any) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if len(f.trouble) < 10 {
		f.trouble = append(f.trouble, time.Now().Format("15:04:05.000 ")+fmt.Sprintf(format, args...))
	}
}

// run visits nodes until ctx ends, or it was revoked.
func (f *follower) run(ctx context.Context) {
	begin := time.Now()
	for visit := f.rng.IntN(2); ctx.Err() == nil; visit++ {
		v := &stay{follower: f, answers: make(chan answer, 64), reading: make(chan struct{}), gone: make(chan struct{})}
		close(v.reading)
		err := v.begin(visit % 2)
		if err == nil {
			v.stay(ctx, begin)
		}
		v.leave()
		f.mu.Lock()
		revoked := f.revoked
		f.mu.Unlock()
		if revoked {
			return
		}
		select {
		case <-time.After(time.Duration(100+f.rng.IntN(400)) * time.Millisecond):
		case <-ctx.Done():
		}
	}
}

// stay is one connection of a follower.
type stay struct {
	*follower
	conn    *sioclient.Conn
	answers chan answer
	gone    chan struct{} // closed by leave

	from   string // the node's address
	strict bool   // it began after the policy had become stricter

	// Guarded by mu.
	reading  chan struct{} // closed while it reads
	answered bool          // spectate_return has come
	asked    string        // the position that it named
}

func (v *stay) begin(node int) (err error) {
	v.from, v.strict = v.world.addr(node), v.world.restricted.Load()
	opts := sioclient.Options{OnEvent: v.hear}
	if v.slow {
		opts.ReadBuffer = 64 << 10 // with less, what waits takes minutes to read
	}
	if v.from == "" {
		return errAway
	}
	if v.conn, err = sioclient.Dial(v.from, opts); err != nil {
		return err
	}
	v.world.visits.Add(1)
	if err := v.send("request_elevation", map[string]any{}); err != nil {
		return err
	}
	if a, err := v.await("request_elevation_return"); err != nil {
		return err
	} else if strings.Contains(strings.ReplaceAll(string(a), `\`, ""), `"success":false`) {
		if v.revoke && v.follower.phase == 1 && strings.Contains(string(a), "token_revoked") {
			v.ended()
			return errAway
		}
		v.complain("not elevated: %s", a)
		return errAway
	}
	for {
		again, err := v.spectate()
		if !again {
			return err
		}
		select {
		case <-time.After(50 * time.Millisecond):
		case <-v.conn.Done():
			return errAway
		}
	}
}

// spectate returns once the answer has come. Again is true if Redis is away.
func (v *stay) spectate() (again bool, err error) {
	payload := map[string]any{"guild_id": v.guild, "include_logs": v.logs, "positions": true}
	v.mu.Lock()
	if v.position != nil {
		v.asked = v.position.String()
		payload["since"] = v.asked
	}
	v.mu.Unlock()
	if err := v.send("spectate", payload); err != nil {
		return false, err
	}
	a, err := v.await("spectate_return")
	return err == nil && a == nil, err
}

func (v *stay) send(event string, payload map[string]any) error {
	payload["token"] = v.token
	var arg any = payload
	if v.text {
		arg = mustJSON(payload)
	}
	return v.conn.Send("42" + mustJSON([]any{event, arg}))
}

// await returns the answer called want, or nil if Redis is away.
func (v *stay) await(want string) (json.RawMessage, error) {
	late := time.After(patience)
	for {
		select {
		case a := <-v.answers:
			switch {
			case a.event == want:
				return a.body, nil
			case a.event == "error" && strings.Contains(string(a.body), "redis_unavailable"):
				return nil, nil
			}
			v.complain("want %s, got %s %s", want, a.event, a.body)
			return nil, errAway
		case <-v.conn.Done():
			return nil, errAway
		case <-late:
			v.complain("no %s from %s", want, v.from)
			return nil, errAway
		}
	}
}

// stay lets events come for a while.
func (v *stay) stay(ctx context.Context, begin time.Time) {
	late := time.NewTimer(time.Duration(500+v.rng.IntN(3000)) * time.Millisecond)
	defer late.Stop()
	if v.slow {
		late.Reset(20 * time.Second)
		v.pause()
		defer v.resume()
	}
	unpaused := time.NewTimer(9 * time.Second)
	defer unpaused.Stop()
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for {
		select {
		case <-late.C:
			if !v.world.final.Load() {
				return
			}
		case <-unpaused.C:
			v.resume()
		case <-tick.C:
			if v.world.final.Load() {
				v.resume()
			}
			if v.change > 0 && time.Since(begin) > v.change {
				if v.follower.phase == 0 || v.follower.revoke && v.follower.phase == 1 {
					if v.lose(ctx) != nil {
						return
					}
				}
			}
		case <-v.conn.Done():
			return
		case <-ctx.Done():
			return
		}
	}
}

func (v *stay) pause() {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.reading = make(chan struct{})
}

func (v *stay) resume() {
	v.mu.Lock()
	defer v.mu.Unlock()
	select {
	case <-v.reading:
	default:
		close(v.reading)
	}
}

func (v *stay) setPhase(n int) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.phase = n
}

// lose lowers the rights by a refresh, or takes them away.
func (v *stay) lose(ctx context.Context) error {
	v.setPhase(1)
	v.token = v.sign(1)
	if !v.revoke {
		if err := v.send("request_elevation", map[string]any{}); err != nil {
			v.setPhase(2) // whatever comes next comes with the new token
			return err
		}
		_, err := v.await("request_elevation_return")
		v.setPhase(2)
		return err
	}
	late := time.After(patience)
	again := time.NewTicker(500 * time.Millisecond) // until a node has heard it
	defer again.Stop()
	for {
		v.world.redis.Publish(ctx, "guildcast:revoke", fmt.Sprintf(`{"sub":"%d"}`, v.user))
		select {
		case <-again.C:
		case a := <-v.answers:
			if a.event == "elevation_expired" {
				v.ended()
				<-time.After(200 * time.Millisecond) // in which nothing may come
				return errAway
			}
		case <-v.conn.Done():
			return errAway // and once more, on the next node
		case <-ctx.Done():
			return ctx.Err()
		case <-late:
			v.complain("not revoked")
			return errAway
		}
	}
}

// ended notes that all rights are gone.
func (v *stay) ended() {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.phase, v.revoked = 2, true
}

// leave drops the connection. What has not been read is lost on its way.
func (v *stay) leave() {
	close(v.gone)
	if v.conn != nil {
		v.conn.Close()
	}
}

// hear runs on the connection's reader.
func (v *stay) hear(p []byte) {
	v.mu.Lock()
	reading := v.reading
	v.mu.Unlock()
	select {
	case <-reading:
	case <-v.gone:
	}
	select {
	case <-v.gone: // nothing more is read: an event that was, after one that was not, would be the one to resume from
		return
	default:
	}
	var args []json.RawMessage
	var name string
	if json.Unmarshal(p, &args) != nil || len(args) < 2 || json.Unmarshal(args[0], &name) != nil {
		v.complain("strange event %s", p)
		return
	}
	if err := traffic.Event(name, args[1:]); err != nil {
		v.complain("not as the schemas say: %v", err)
	}
	switch name {
	case "log_pool", "log_other":
		v.event(name, args)
		return
	case "resync":
		v.complain("resync %s from %s", args[1], v.from)
		return
	case "spectate_return":
		v.returned(args[1])
	}
	select {
	case v.answers <- answer{name, append(json.RawMessage{}, args[1]...)}:
	default:
		v.complain("too many answers: %s", p)
	}
}

func (v *stay) event(name string, args []json.RawMessage) {
	var text string
	if len(args) != 3 || json.Unmarshal(args[2], &text) != nil {
		v.complain("%s without a position: %.200s", name, args)
		return
	}
	p, err := history.ParsePosition(text)
	payload := args[1]
	if v.text {
		var s string
		_ = json.Unmarshal(payload, &s)
		payload = json.RawMessage(s)
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	switch {
	case err != nil || !v.answered:
		v.trouble = append(v.trouble, fmt.Sprintf("%s: %v, answered %t", text, err, v.answered))
	case p.Compare(*v.position) <= 0 && len(v.got) > 0:
		v.trouble = append(v.trouble, fmt.Sprintf("event %s came after %s, from %s", p, v.position, v.from))
	}
	v.got = append(v.got, received{p, name, append(json.RawMessage{}, payload...), v.phase, v.strict})
	v.position = &p
}

// returned takes the answer to a spectate.
func (v *stay) returned(body json.RawMessage) {
	var r returned
	if err := decodeEither(body, &r); err != nil || !r.Success || r.Recovered == nil || r.Position == nil {
		v.complain("the answer is %s, from %s", body, v.from)
		return
	}
	p, err := history.ParsePosition(*r.Position)
	v.mu.Lock()
	defer v.mu.Unlock()
	v.answered = true
	switch {
	case err != nil:
		v.trouble = append(v.trouble, err.Error())
	case v.position == nil:
		v.position, v.start = &p, p
	case !*r.Recovered:
		v.trouble = append(v.trouble, fmt.Sprintf("%s: since %s: the answer is %s, from %s",
			time.Now().Format("15:04:05.000"), v.asked, body, v.from))
	default:
		v.world.resumed.Add(1)
	}
}

func (f *follower) spectates() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.position != nil
}

// heard reports whether an event has come, or none will.
func (f *follower) heard() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return len(f.got) > 0 || f.slow
}

// complete reports whether the last event that the follower must get has come.
func (f *follower) complete(reference map[string][]entry) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	switch {
	case f.revoke:
		return f.revoked
	case f.position == nil:
		return false
	}
	list := reference[f.guild]
	for i := len(list) - 1; i >= 0; i-- {
		if f.sees(list[i], f.phase) && f.sees(list[i], 0) && !f.restrictedOnce(list[i]) {
			return f.position.Compare(list[i].position) >= 0
		}
	}
	return true
}

// sees reports whether an entry is for the follower with its rights before or after the change.
func (f *follower) sees(e entry, phase int) bool {
	logs := strings.HasSuffix(e.topic, "_logs")
	if logs && !f.logs || phase > 0 && f.revoke {
		return false
	}
	_, _, ok := f.rights[min(phase, 1)].sees(f.guild, logs, e.message)
	return ok
}

// restricted reports whether the stricter policy keeps an entry from the follower with its rights before or after the
// change.
func (f *follower) restricted(e entry, phase int) bool {
	var m struct{ Kind string }
	return json.Unmarshal(e.message, &m) == nil && m.Kind == restrictedKind &&
		!f.rights[min(phase, 1)].has(f.guild, bitAdministrator)
}

// restrictedOnce reports whether there was a time in which the stricter policy kept an entry from the follower.
func (f *follower) restrictedOnce(e entry) bool { return f.restricted(e, 0) || f.restricted(e, 1) }

// judge compares what came with the history. The follower has ended.
func (f *follower) judge(reference map[string][]entry) error {
	var before history.Position // the last event that came before the change began
	for _, r := range f.got {
		if r.phase == 0 {
			before = r.position
		}
	}
	got := f.got
	for i, e := range reference[f.guild] {
		if e.position.Compare(f.start) <= 0 {
			continue
		}
		if len(got) > 0 && got[0].position == e.position {
			if err := f.check(got[0], e); err != nil {
				return err
			}
			got = got[1:]
			continue
		}
		// Those on their way during a change went by the new rights, or the new policy.
		must := f.sees(e, 0) && !f.restrictedOnce(e) && (f.phase == 0 || e.position.Compare(before) < 0 || f.sees(e, 1))
		if must {
			return fmt.Errorf("event %s (%d of %d, %.150s) is missing after %d events; the next is %.1v", e.position, i,
				len(reference[f.guild]), e.message, len(f.got)-len(got), got[:min(1, len(got))])
		}
	}
	if len(got) > 0 {
		return fmt.Errorf("event %s came after %d, and is no next one of the history", got[0].position,
			len(f.got)-len(got))
	}
	return nil
}

// check returns an error if an event that came was not for the follower.
func (f *follower) check(r received, e entry) error {
	rights := f.rights[min(r.phase, 1)]
	if r.phase == 1 {
		rights = f.rights[0] // until the answer either may hold, and the new ones are fewer
	}
	name, payload, ok := rights.sees(f.guild, strings.HasSuffix(e.topic, "_logs"), e.message)
	if !ok || !f.sees(e, r.phase&2) || r.strict && f.restricted(e, r.phase&2) {
		return fmt.Errorf("FORBIDDEN event %s in phase %d: %.200s", e.position, r.phase, e.message)
	}
	if name != r.name || string(payload) != string(r.payload) {
		return fmt.Errorf("event %s is %s %.100s, want %s %.100s", e.position, r.name, r.payload, name, payload)
	}
	return nil
}
