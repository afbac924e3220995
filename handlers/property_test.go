package handlers

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/architus/guildcast/engine"
	"github.com/architus/guildcast/event"
	"github.com/architus/guildcast/history"
	"github.com/architus/guildcast/internal/test/race"
	"github.com/architus/guildcast/permissions"
)

// rights are a token's claims, as the reference reads them.
type rights struct {
	user    string
	guilds  map[string]uint64
	admin   bool
	issued  time.Time
	expires time.Time
}

func (r *rights) token() string {
	guilds, err := json.Marshal(r.guilds)
	if err != nil {
		panic(err)
	}
	return fmt.Sprintf(`token {"sub":%q,"iat":%f,"exp":%f,"permissions":0,"guilds":%s,"architus_admin":%t}`,
		r.user, float64(r.issued.UnixMilli())/1000, float64(r.expires.UnixMilli())/1000, guilds, r.admin)
}

// published is an event's payload: all that the reference needs to know.
type published struct {
	Seq     int    `json:"seq"`
	Guild   string `json:"guild"`
	Logs    bool   `json:"logs"`
	Kind    string `json:"kind"`
	Private bool   `json:"private"`
}

// permits is the reference: slow, obvious, and by the contract alone.
func permits(r *rights, v view, e published, now time.Time) bool {
	if r == nil || v.guild != e.Guild || e.Logs && !v.logs || !now.Before(r.expires) {
		return false
	}
	bits, member := r.guilds[e.Guild]
	if r.admin {
		bits, member = ^uint64(0), true
	}
	if bits&1 != 0 {
		bits = ^uint64(0)
	}
	if !member || e.Private && bits&4 == 0 {
		return false
	}
	switch e.Kind {
	case "member":
		return true
	case "setting":
		return bits&0x100 != 0
	case "message":
		return e.Private || bits&2 != 0
	case "moderation":
		return bits&4 != 0
	case "internal":
		return r.admin
	}
	return false
}

// entry is something in the history of one client.
type entry struct {
	at    time.Time
	want  *wish      // the client asks for something
	event *published // it gets a guild event
	word  string     // or something else: an event of the gateway
	id    int        // of the request that it answers; 0 for none
	code  int        // of its error; 0 for none
}

// wish is what a request asks for.
type wish struct {
	id     int
	event  string
	rights *rights // of its token
	view   view    // to spectate
}

// trial is one client and what happened to it.
type trial struct {
	past *archive // nil: no event is durable

	s   *session
	rng *rand.Rand
	ids int

	mu      sync.Mutex
	history []entry
}

func (x *trial) add(e entry) {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.history = append(x.history, e)
}

// hear is called with everything that the client gets, and when it was made.
func (x *trial) hear(args []byte, at time.Time) {
	var list []json.RawMessage
	var name string
	if json.Unmarshal(args, &list) != nil || json.Unmarshal(list[0], &name) != nil {
		panic("no event: " + string(args))
	}
	var body struct {
		ID    int `json:"_id"`
		Code  int `json:"code"`
		Error struct {
			Code int `json:"code"`
		} `json:"error"`
		published
	}
	if err := json.Unmarshal(list[1], &body); err != nil {
		panic(err)
	}
	if name == "log_pool" || name == "log_other" {
		x.add(entry{at: at, event: &body.published})
		return
	}
	x.add(entry{at: at, word: name, id: body.ID, code: max(body.Code, body.Error.Code)})
}

func (x *trial) rights() *rights {
	bits := []uint64{0, 1, 2, 4, 6, 0x100, 0x112}
	r := &rights{
		user: fmt.Sprint(x.rng.IntN(3)), guilds: map[string]uint64{}, admin: x.rng.IntN(12) == 0,
		issued: time.Now().Truncate(time.Millisecond),
	}
	for g := range 3 {
		if x.rng.IntN(3) > 0 {
			r.guilds[fmt.Sprint(g)] = bits[x.rng.IntN(len(bits))]
		}
	}
	r.expires = r.issued.Add(time.Duration(5+x.rng.IntN(400)) * time.Millisecond)
	return r
}

// step does one random thing, whole: the answer was given when it returns.
func (x *trial) step() {
	x.ids++
	w := &wish{id: x.ids, rights: x.rights()}
	body := m{"_id": w.id, "token": w.rights.token()}
	switch x.rng.IntN(8) {
	case 0, 1, 2:
		w.event = "request_elevation"
	case 3, 4, 5, 6:
		w.event = "spectate"
		w.view = view{guild: fmt.Sprint(x.rng.IntN(3)), logs: x.rng.IntN(2) == 0}
		body["guild_id"], body["include_logs"] = w.view.guild, w.view.logs
		x.recall(body)
	case 7:
		w.event = "demote"
	}
	x.add(entry{at: time.Now(), want: w})
	x.s.send(w.event, body)
}

// recall asks for the past now and then, if there is one.
func (x *trial) recall(body m) {
	if x.past == nil {
		return
	}
	switch x.rng.IntN(4) {
	case 0:
		body["positions"] = true
	case 1:
		body["backlog"] = x.rng.IntN(100)
	case 2:
		if list := x.past.of(fmt.Sprint(body["guild_id"])); len(list) > 0 {
			body["since"] = list[x.rng.IntN(len(list))].Position.String()
		}
	}
}

// state is what a client may have, by what it was told: while a request is on its way, more than one thing.
type state struct {
	rights  []*rights
	views   []view
	pending *wish
}

func (st *state) apply(e entry) {
	switch {
	case e.want != nil:
		st.pending = e.want
		st.rights, st.views = append(st.rights, e.want.rights), append(st.views, e.want.view)
	case e.word == "elevation_expired":
		st.rights, st.views = nil, nil
		if st.pending != nil && st.pending.event == "request_elevation" { // it may elevate yet
			st.rights = []*rights{st.pending.rights}
		}
	}
	if st.pending == nil || e.id != st.pending.id {
		return
	}
	w := st.pending
	st.pending = nil
	// The last of each list is what the request asks for, unless the elevation ended meanwhile.
	before, views := st.rights, st.views
	if n := len(before); n > 0 && before[n-1] == w.rights {
		before = before[:n-1]
	}
	if n := len(views); n > 0 {
		views = views[:n-1]
	}
	refused := e.code == 401 || e.code == 409
	switch {
	case w.event == "request_elevation" && e.code == 0:
		st.rights, st.views = []*rights{w.rights}, views
		if len(before) == 0 || before[0].user != w.rights.user {
			st.views = nil
		}
	case w.event == "demote" && !refused:
		st.rights, st.views = nil, nil
	case w.event == "spectate" && !refused:
		st.rights, st.views = before, views
		if len(before) > 0 && w.rights.newer(before[0]) {
			st.rights = []*rights{w.rights}
		}
		if e.code == 0 {
			st.views = []view{w.view}
		}
	default:
		st.rights, st.views = before, views
	}
}

func (r *rights) newer(than *rights) bool {
	return r.issued.After(than.issued) || r.issued.Equal(than.issued) && r.expires.After(than.expires)
}

func (st *state) permits(e entry) bool {
	for _, r := range st.rights {
		for _, v := range st.views {
			if permits(r, v, *e.event, e.at) {
				return true
			}
		}
	}
	return false
}

// check goes through the history and finds what came without being permitted.
func (x *trial) check(t *testing.T) (events int) {
	t.Helper()
	var st state
	for i, e := range x.history {
		if e.event == nil {
			st.apply(e)
			continue
		}
		events++
		if !st.permits(e) {
			for _, h := range x.history[max(0, i-12) : i+1] {
				t.Logf("%v want %+v event %+v %s id %d code %d", h.at, h.want, h.event, h.word, h.id, h.code)
			}
			t.Fatalf("client %s got %+v; rights %+v, views %v", x.s.id, *e.event, st.rights, st.views)
		}
	}
	return events
}

func TestNothingForbiddenIsEverDelivered(t *testing.T) {
	for seed := range race.Rounds[uint64](6, 2) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { disorder(t, seed, false) })
		})
	}
}

// The claims of a client change between an event and its replay, too.
func TestNothingForbiddenIsEverReplayed(t *testing.T) {
	for seed := range race.Rounds[uint64](6, 2) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { disorder(t, seed, true) })
		})
	}
}

// disorder has clients do random things while events are published and tokens revoked. With durable, most events are,
// and clients ask for the past.
func disorder(t *testing.T, seed uint64, durable bool) {
	b := newBench(t, Config{ExpiryWarning: 20 * time.Millisecond, Limits: Limits{
		SocketRate: -1, UserRate: -1, AddressRate: -1,
	}})
	heard := map[any]*trial{}
	var hearing sync.RWMutex
	b.hook = func(c any, args []byte, at time.Time) {
		hearing.RLock()
		x := heard[c]
		hearing.RUnlock()
		x.hear(args, at)
	}
	b.streams.set(func(event.Topic) { time.Sleep(time.Millisecond) }) // Redis takes its time, and so do deliveries
	b.pace = 300 * time.Microsecond
	var past *archive
	if durable {
		past = b.remember()
		past.pause = time.Millisecond
		b.sheds = func(*engine.Conn, []byte) bool { return time.Now().UnixMicro()%20 == 0 }
	}
	connect := func(id string, rng *rand.Rand) *trial {
		x := &trial{s: b.socket(id), rng: rng, past: past}
		hearing.Lock()
		heard[x.s.conn()] = x
		hearing.Unlock()
		return x
	}
	stop := make(chan struct{})
	var publishers, clients sync.WaitGroup
	for guild := range 3 {
		publishers.Go(func() { publish(b, past, fmt.Sprint(guild), rand.New(rand.NewPCG(seed, uint64(guild))), stop) })
	}
	publishers.Go(func() { revoke(b, rand.New(rand.NewPCG(seed, 99)), stop) })
	var mu sync.Mutex
	var all []*trial
	for i := range 12 {
		clients.Go(func() {
			rng := rand.New(rand.NewPCG(seed, 1000+uint64(i)))
			for life := range 4 {
				x := connect(fmt.Sprintf("%d-%d", i, life), rng)
				for range 30 {
					x.step()
					time.Sleep(time.Duration(rng.IntN(20_000)) * time.Microsecond)
				}
				b.g.disconnected(x.s)
				mu.Lock()
				all = append(all, x)
				mu.Unlock()
			}
		})
	}
	clients.Wait()
	close(stop)
	publishers.Wait()
	synctest.Wait()
	total := 0
	for _, x := range all {
		total += x.check(t)
	}
	t.Logf("%d clients got %d events", len(all), total)
	if total < 1000 {
		t.Errorf("only %d events were delivered: this proves little", total)
	}
	if n := b.g.filter.Len(); n != 0 || len(b.rooms) != 0 || len(b.g.spectators.guilds) != 0 {
		t.Errorf("%d spectators, rooms %v and %d guilds are left", n, b.rooms, len(b.g.spectators.guilds))
	}
}

func publish(b *bench, past *archive, guild string, rng *rand.Rand, stop <-chan struct{}) {
	kinds := []string{"member", "setting", "message", "moderation", "internal", "unknown"}
	for seq := 0; ; seq++ {
		select {
		case <-stop:
			return
		case <-time.After(time.Duration(rng.IntN(500)) * time.Microsecond):
		}
		p := published{seq, guild, rng.IntN(2) == 0, kinds[rng.IntN(len(kinds))], rng.IntN(3) == 0}
		payload, err := json.Marshal(p)
		if err != nil {
			panic(err)
		}
		topic := event.Topic{Guild: guild, Logs: p.Logs}
		message := fmt.Sprintf(`{"kind":%q,"private":%t,"payload":%s}`, p.Kind, p.Private, payload)
		if past != nil && rng.IntN(4) > 0 {
			b.durable(past, topic, message)
			past.trim(guild, 500)
			continue
		}
		b.g.Message(topic, history.Position{}, []byte(message))
	}
}

func revoke(b *bench, rng *rand.Rand, stop <-chan struct{}) {
	for {
		select {
		case <-stop:
			return
		case <-time.After(time.Duration(rng.IntN(100)) * time.Millisecond):
		}
		now := time.Now()
		r := permissions.Revocation{Subject: fmt.Sprint(rng.IntN(3)), IssuedBefore: now, Expires: now.Add(time.Hour)}
		b.revoked.Add(r, now)
		b.g.Revoke(r)
	}
}
