//go:build integration

package integration

import (
	"bytes"
	"compress/flate"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"github.com/architus/guildcast/internal/test/sioclient"
)

// attack is what hostile clients do to a node. Its bound of memory is the sum of docs/reference/limits.md for what it
// can reach.
type attack struct {
	name    string
	env     []string
	rows    []row
	clients int
	prepare func(t *testing.T, v *victim)
	begin   func(t *testing.T, v *victim) // starts crowds
}

// row is one of the table of docs/reference/limits.md.
type row struct {
	name string
	mib  int
}

var (
	decoding     = row{"large JSON being decoded", 64}
	inbound      = row{"what clients sent and no handler took", 64}
	reading      = row{"messages that are being read, or were refused", 64}
	oneAddress   = row{"requests of an address", 8}
	fourUsers    = row{"requests of four users", 4 * 8}
	mockGuilds   = row{"mock guilds", 64}
	pages        = row{"pages for requests that ask for the same", 32}
	pagesRead    = row{"pages that are being read", 32}
	names        = row{"names for searching", searchEntries * 300 / mib}
	sendQueues   = row{"what waits to be sent", queueBudget / mib}
	releasedNode = row{"the node itself", 32}
)

// What the node is told, so that a few seconds are enough to come to the bound.
const (
	searchEntries = 50_000
	queueBudget   = 64 * mib
)

// documented is the most that a node takes under these attacks, in MiB: twice what it holds, because the collector lets
// it grow so far before it looks what is still in use.
func documented(attacks ...attack) int {
	rows := map[row]bool{releasedNode: true}
	clients := 0
	for _, a := range attacks {
		for _, r := range a.rows {
			rows[r] = true
		}
		clients += a.clients * 64 << 10
	}
	held := clients / mib
	for r := range rows {
		held += r.mib
	}
	return 2 * held
}

const mib = 1 << 20

// grown is JSON that takes sixty times its size when it is decoded.
func grown(bytes int) string {
	return "[" + strings.Repeat(`{"":0},`, bytes/7) + "0]"
}

// Bytes of the largest message, and of the largest payload that is decoded.
const (
	largestMessage = 999_000
	largestPayload = 220_000
)

var attacks = []attack{
	{name: "unknown events that would grow", clients: 100, rows: []row{inbound, reading}, begin: unknownEvents},
	{name: "known events that grow", clients: 100, rows: []row{inbound, reading, decoding}, begin: knownEvents},
	{name: "frames that inflate", clients: 40, rows: []row{inbound, reading, decoding}, begin: framesThatInflate},
	{
		name: "frames and attachments that never end", clients: 120, rows: []row{inbound, reading},
		begin: framesWithoutEnd,
	},
	{name: "bodies that never end", clients: 100, rows: []row{inbound, reading}, begin: bodiesWithoutEnd},
	{
		name: "floods of interpret", clients: 70, rows: []row{inbound, reading, decoding, oneAddress, mockGuilds},
		begin: floodsOfInterpret,
	},
	{
		name: "pools that nobody reads", clients: 16, rows: []row{fourUsers, pages, pagesRead},
		prepare: func(t *testing.T, v *victim) { v.fill(t, foreign, 50_000) },
		begin:   poolsThatNobodyReads,
	},
	{
		name: "searches of many guilds", clients: 8, rows: []row{names, pages, pagesRead},
		env: []string{fmt.Sprint("GUILDCAST_LIMIT_SEARCH_ENTRIES=", searchEntries)},
		prepare: func(t *testing.T, v *victim) {
			for i := range searched {
				v.fill(t, guildNumber(i), 20_000)
			}
		},
		begin: searches,
	},
	{
		name: "spectators that read slowly or stop", clients: 6*spectated + 1, rows: []row{sendQueues},
		env:   []string{fmt.Sprint("GUILDCAST_MAX_QUEUE_BUDGET=", queueBudget)},
		begin: slowSpectators,
	},
}

func unknownEvents(_ *testing.T, v *victim) {
	frame := sioclient.Frame(textFrame, `42["nonesuch",`+grown(largestMessage-100)+`]`)
	v.crowd(100, sioclient.Options{}, func(c *sioclient.Conn) error { return c.Write(frame) })
}

func knownEvents(_ *testing.T, v *victim) {
	frame := sioclient.Frame(textFrame, interpretation("hi", grown(largestPayload-200)))
	v.crowd(100, sioclient.Options{}, func(c *sioclient.Conn) error { return c.Write(frame) })
}

func framesThatInflate(t *testing.T, v *victim) {
	opts := sioclient.Options{Headers: "Sec-WebSocket-Extensions: permessage-deflate\r\n"}
	for _, p := range []string{
		`42["nonesuch",` + grown(largestMessage-100) + `]`, interpretation("hi", grown(largestPayload-200)),
	} {
		frame := sioclient.Frame(textFrame|compressed, deflated(t, p))
		v.crowd(20, opts, func(c *sioclient.Conn) error { return c.Write(frame) })
	}
}

func framesWithoutEnd(_ *testing.T, v *victim) {
	const attachments = 9 // of ten, for which there is room within the bound of a client
	head := sioclient.Frame(textFrame, `4510-["nonesuch"`+strings.Repeat(`,{"_placeholder":true,"num":0}`, 10)+`]`)
	attachment := sioclient.Frame(binaryFrame, strings.Repeat("x", 850_000))
	v.crowd(100, sioclient.Options{}, func(c *sioclient.Conn) error {
		err := c.Write(head)
		for i := 0; i < attachments && err == nil; i++ {
			err = c.Write(attachment)
		}
		if err != nil {
			return err
		}
		return v.hold(c)
	})
	frame := sioclient.Frame(textFrame, `42["nonesuch","`+strings.Repeat("x", largestMessage-100)+`"]`)
	v.crowd(20, sioclient.Options{}, func(c *sioclient.Conn) error {
		if err := c.Write(frame[:len(frame)-1]); err != nil {
			return err
		}
		return v.hold(c)
	})
}

func bodiesWithoutEnd(_ *testing.T, v *victim) {
	for range 100 {
		v.clients.Add(1)
		v.crowds.Go(func() {
			for v.ctx.Err() == nil {
				_ = v.bodyWithoutEnd()
			}
		})
	}
}

// floodsOfInterpret all come from one address. Each message takes many steps, and has a member that nobody asked for.
func floodsOfInterpret(_ *testing.T, v *victim) {
	set := sioclient.Frame(textFrame, interpretation("!set ^(?:a*){60}x$::hi", "0"))
	say := sioclient.Frame(textFrame, interpretation(strings.Repeat("a", 2000), `"`+strings.Repeat("x", 200_000)+`"`))
	v.crowd(70, sioclient.Options{Headers: "X-Forwarded-For: 198.19.0.1\r\n"}, func(c *sioclient.Conn) error {
		err := c.Write(set)
		for err == nil {
			if err = c.Write(say); err == nil {
				v.acts.Add(1)
			}
		}
		return err
	})
}

func poolsThatNobodyReads(t *testing.T, v *victim) {
	const users, sockets, requests = 4, 4, 128
	for user := range users {
		token := mint(t, jwt.MapClaims{"sub": fmt.Sprint(1000 + user), "guilds": guilds{foreign: 0}})
		opts := sioclient.Options{Auth: auth(token), ReadBuffer: 4096, Stalled: true}
		v.crowd(sockets, opts, func(c *sioclient.Conn) error {
			for i := range requests {
				request := []string{"all", "online"}[i%2]
				const pool = `42["pool",{"_id":%d,"type":"member","guild_id":%q,"request":%q,"token":%q}]`
				if err := c.Send(fmt.Sprintf(pool, i, foreign, request, token)); err != nil {
					return err
				}
				v.acts.Add(1)
			}
			return v.hold(c)
		})
	}
}

func searches(t *testing.T, v *victim) {
	for user := range 8 {
		token := mint(t, jwt.MapClaims{"sub": fmt.Sprint(2000 + user), "architus_admin": true})
		i := 0
		v.crowd(1, sioclient.Options{Auth: auth(token)}, func(c *sioclient.Conn) error {
			i++
			const search = `42["pool",{"type":"member","guild_id":%q,"request":"search","query":"nick","token":%q}]`
			return c.Send(fmt.Sprintf(search, guildNumber(i%searched), token))
		})
	}
}

func slowSpectators(t *testing.T, v *victim) {
	for i := range spectated {
		stopped := newSpectator(t, 3000+i, guildNumber(i))
		stopped.ReadBuffer, stopped.Stalled = 4096, true
		v.crowd(3, stopped.Options, stopped.acts(v))
		slow := newSpectator(t, 3000+i, guildNumber(i))
		slow.ReadBuffer = 4096
		slow.OnEvent = func([]byte) { time.Sleep(20 * time.Millisecond) } // so slow it is
		v.crowd(3, slow.Options, slow.acts(v))
	}
	v.publishLogs(t)
}

// The first bytes of frames: RFC 6455, section 5.2, and RFC 7692, section 6.
const (
	textFrame   = 1
	binaryFrame = 2
	compressed  = 0x40
)

func auth(token string) string { return fmt.Sprintf(`{"token":%q}`, token) }

// guildNumber is a guild of those that are searched or spectated.
func guildNumber(i int) string { return fmt.Sprint(800000000000000000 + i) }

const searched, spectated = 20, 8 // guilds

// interpretation is an interpret request with a member that nobody knows.
func interpretation(content, more string) string {
	return fmt.Sprintf(`42["interpret",{"action":3001,"guild_id":4211,"message_id":2,"content":%q,`+
		`"allowed_commands":["set"],"silent":false,"more":%s}]`, content, more)
}

// deflated is the data of a frame as permessage-deflate has it: RFC 7692, section 7.2.1.
func deflated(t *testing.T, message string) string {
	var b bytes.Buffer
	w, err := flate.NewWriter(&b, flate.BestCompression)
	if err != nil {
		t.Fatal(err)
	}
	_, _ = io.WriteString(w, message)
	if err := w.Flush(); err != nil {
		t.Fatal(err)
	}
	return strings.TrimSuffix(b.String(), "\x00\x00\xff\xff")
}

// bodyWithoutEnd opens a session by polling, and posts all of a message but its last byte. It returns when the node has
// cut the connection, or the attack ends.
func (v *victim) bodyWithoutEnd() error {
	req, err := http.NewRequestWithContext(v.ctx, http.MethodGet, v.url+"/socket.io/?EIO=4&transport=polling", nil)
	if err != nil {
		return err
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	open, err := io.ReadAll(res.Body)
	res.Body.Close()
	_, after, ok := strings.Cut(string(open), `"sid":"`)
	sid, _, ok2 := strings.Cut(after, `"`)
	if err != nil || !ok || !ok2 {
		return fmt.Errorf("open packet %q: %v", open, err)
	}
	nc, err := net.Dial("tcp", v.addr)
	if err != nil {
		return err
	}
	defer nc.Close()
	defer context.AfterFunc(v.ctx, func() { nc.Close() })()
	_, err = fmt.Fprintf(nc, "POST /socket.io/?EIO=4&transport=polling&sid=%s HTTP/1.1\r\nHost: node\r\n"+
		"Content-Length: %d\r\n\r\n%s", sid, largestMessage, strings.Repeat("4", largestMessage-1))
	if err == nil {
		v.acts.Add(1)
		_, _ = io.Copy(io.Discard, nc)
	}
	return err
}

// fill gives a guild members with their users, all of them online.
func (v *victim) fill(t *testing.T, guild string, members int) {
	t.Helper()
	const batch = 1000
	for from := 0; from < members; from += batch {
		var hash, users, online []any
		for id := from; id < min(from+batch, members); id++ {
			hash = append(hash, fmt.Sprint(id), fmt.Sprintf(
				`{"id":"%d","nick":"Nick of %s %d","roles":["1","2","3"],"joined_at":"2020-01-01"}`, id, guild, id))
			users = append(users, fmt.Sprint(id), fmt.Sprintf(
				`{"id":"%d","username":"user%d","avatar":"0123456789abcdef0123456789abcdef"}`, id, id))
			online = append(online, fmt.Sprint(id))
		}
		pipe := v.redis.Pipeline()
		pipe.HSet(t.Context(), "guildcast:pool:{"+guild+"}:member", hash...)
		pipe.HSet(t.Context(), "guildcast:pool:{global}:user", users...)
		pipe.SAdd(t.Context(), "guildcast:online:{"+guild+"}", online...)
		if _, err := pipe.Exec(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
}

// publishLogs publishes log entries of 100 kB, one to each of the guilds, and again whenever a client that reads has
// the last: faster, Redis would cut the node.
func (v *victim) publishLogs(t *testing.T) {
	heard := make(chan struct{}, 1)
	last := newSpectator(t, 2999, guildNumber(spectated-1))
	last.OnEvent = func(p []byte) {
		if bytes.HasPrefix(p, []byte(`["log_other"`)) || bytes.HasPrefix(p, []byte(`["spectate_return"`)) {
			heard <- struct{}{}
		}
	}
	v.crowd(1, last.Options, last.acts(v))
	v.crowds.Go(func() {
		long := strings.Repeat("x", 100_000)
		for i := 0; ; i++ {
			select {
			case <-heard:
			case <-v.ctx.Done():
				return
			}
			pipe := v.redis.Pipeline()
			for g := range spectated {
				entry := fmt.Sprintf(`{"kind":"message","payload":{"n":%d,"text":"%s"}}`, i, long)
				pipe.Publish(v.ctx, guildNumber(g)+"_logs", entry)
			}
			if _, err := pipe.Exec(v.ctx); err == nil {
				v.acts.Add(spectated)
			}
		}
	})
}

// spectator is a client that spectates a guild with its logs.
type spectator struct {
	sioclient.Options
	packet string
}

func newSpectator(t *testing.T, user int, guild string) *spectator {
	token := mint(t, jwt.MapClaims{"sub": fmt.Sprint(user), "architus_admin": true})
	return &spectator{
		Options: sioclient.Options{Auth: auth(token)},
		packet:  fmt.Sprintf(`42["spectate",{"guild_id":%q,"include_logs":true,"token":%q}]`, guild, token),
	}
}

// acts is what a crowd of it does.
func (s *spectator) acts(v *victim) func(*sioclient.Conn) error {
	return func(c *sioclient.Conn) error {
		if err := c.Send(s.packet); err != nil {
			return err
		}
		return v.hold(c)
	}
}
