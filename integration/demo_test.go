//go:build integration

package integration

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"regexp"
	"strings"
	"testing"
	"time"

	goredis "github.com/redis/go-redis/v9"

	"github.com/architus/guildcast/history"
	"github.com/architus/guildcast/internal/test/wait"
)

var jwtText = regexp.MustCompile(`eyJ[\w-]+\.[\w-]+\.[\w-]+`)

// TestDemo: three browsers with the three tokens that the demo prints see exactly what the policy lets each see, event
// by event and in the order of the topic.
func TestDemo(t *testing.T) {
	t.Parallel()
	eachRedis(t, func(t *testing.T, redis backend) {
		addr := fmt.Sprintf("127.0.0.1:%d", freePort(t))
		n := &node{start(t, "demo", []string{"GUILDCAST_ADDR=" + addr, "GUILDCAST_REDIS=" + redis.url}, nil, binary,
			"serve", "--demo"), "http://" + addr}
		n.waitReady(t)
		var tokens []string
		wait.Until(t, "three tokens", func() bool {
			tokens = jwtText.FindAllString(n.output(), -1)
			return len(tokens) >= 3
		})
		tokens = tokens[:3]

		rec := record(t, redis.url, guild)
		b := startBrowsers(t)
		clients := make([]*client, len(tokens))
		viewers := make([]viewer, len(tokens))
		for i, token := range tokens {
			viewers[i] = claimsOf(t, token)
			clients[i], _ = b.connect(t, n.url, nil)
			clients[i].elevate(t, token)
			clients[i].spectate(t, token, guild, viewers[i].has(guild, bitPublicLogs) ||
				viewers[i].has(guild, bitPrivateLogs))
		}
		rec.mark(t, "begin")
		// The generator's events, until by the reference no two of the three see the same.
		for n := 0; n < 30 || !rec.separates(viewers); n++ {
			rec.take(t)
			if n == 500 {
				t.Fatal("after 500 events two of the tokens still see the same")
			}
		}
		rec.mark(t, "end")

		distinct := map[string]bool{}
		for i, c := range clients {
			logs := viewers[i].has(guild, bitPublicLogs) || viewers[i].has(guild, bitPrivateLogs)
			var all []string
			for topic, name := range map[string]string{guild: "log_pool", guild + "_logs": "log_other"} {
				if strings.HasSuffix(topic, "_logs") && !logs {
					continue
				}
				c.waitMark(t, name, "end")
				want := rec.expected(viewers[i], topic, name)
				got := between(c.events(name))
				if fmt.Sprint(got) != fmt.Sprint(want) {
					t.Errorf("client %d, %s:\n got %d %v\nwant %d %v", i, name, len(got), got, len(want), want)
				}
				all = append(all, got...)
			}
			distinct[fmt.Sprint(all)] = true
		}
		if len(distinct) != len(clients) {
			t.Errorf("three tokens saw only %d different streams", len(distinct))
		}
		n.drain(t)
	})
}

func claimsOf(t *testing.T, token string) (v viewer) {
	t.Helper()
	b, err := base64.RawURLEncoding.DecodeString(strings.Split(token, ".")[1])
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(b, &v); err != nil {
		t.Fatalf("claims %s: %v", b, err)
	}
	return v
}

// recorder keeps what is published to the two topics of a guild, in order.
type recorder struct {
	client *goredis.Client
	guild  string
	got    chan *goredis.Message
	log    map[string][][]byte // per topic; owned by the test
}

func record(t *testing.T, redisURL, guild string) *recorder {
	t.Helper()
	opts, err := goredis.ParseURL(redisURL)
	if err != nil {
		t.Fatal(err)
	}
	r := &recorder{client: goredis.NewClient(opts), guild: guild, log: map[string][][]byte{}}
	ps := r.client.Subscribe(context.Background(), guild, guild+"_logs")
	for range 2 {
		if _, err := ps.Receive(context.Background()); err != nil {
			t.Fatal(err)
		}
	}
	r.got = make(chan *goredis.Message, 10000)
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			m, err := ps.ReceiveMessage(context.Background())
			if err != nil {
				return
			}
			r.got <- m
		}
	}()
	t.Cleanup(func() { ps.Close(); r.client.Close(); <-done })
	return r
}

func (r *recorder) take(t *testing.T) *goredis.Message {
	t.Helper()
	select {
	case m := <-r.got:
		_, body, _, err := history.Cut([]byte(m.Payload))
		if err != nil {
			t.Fatalf("%s: %v", m.Payload, err)
		}
		r.log[m.Channel] = append(r.log[m.Channel], body)
		return m
	case <-time.After(patience):
		t.Fatal("nothing is published")
		return nil
	}
}

// separates tells whether of each two viewers one sees a message that the other does not.
func (r *recorder) separates(viewers []viewer) bool {
	seen := map[string]bool{}
	for _, v := range viewers {
		var stream []string
		for _, topic := range []string{r.guild, r.guild + "_logs"} {
			before := len(stream)
			for i, m := range r.log[topic] {
				if bytes.Contains(m, []byte(`{"mark":"begin"}`)) {
					stream = stream[:before] // who connected meanwhile did not get those before
				}
				if _, _, ok := v.sees(r.guild, topic != r.guild, m); ok {
					stream = append(stream, fmt.Sprint(topic, i))
				}
			}
		}
		seen[fmt.Sprint(stream)] = true
	}
	return len(seen) == len(viewers)
}

// mark publishes an event that every member sees to both topics, and returns once it has come back.
func (r *recorder) mark(t *testing.T, word string) {
	t.Helper()
	text := fmt.Sprintf(`{"kind":"guild","payload":{"mark":%q}}`, word)
	for _, topic := range []string{r.guild, r.guild + "_logs"} {
		if err := r.client.Publish(context.Background(), topic, text).Err(); err != nil {
			t.Fatal(err)
		}
		for {
			if m := r.take(t); m.Channel == topic && m.Payload == text {
				break
			}
		}
	}
}

// expected returns the payloads between the marks that v sees of topic.
func (r *recorder) expected(v viewer, topic, name string) []string {
	var hs []heard
	for _, m := range r.log[topic] {
		if event, payload, ok := v.sees(r.guild, strings.HasSuffix(topic, "_logs"), m); ok && event == name {
			hs = append(hs, heard{Args: []json.RawMessage{payload}})
		}
	}
	return between(hs)
}

// between returns the payloads, without white space, between the marks.
func between(hs []heard) []string {
	var payloads []string
	in := false
	for _, h := range hs {
		var x any
		_ = json.Unmarshal(h.Args[0], &x)
		b, _ := json.Marshal(x)
		switch text := string(b); {
		case text == `{"mark":"begin"}`:
			in = true
		case text == `{"mark":"end"}`:
			return payloads
		case in:
			payloads = append(payloads, text)
		}
	}
	return append(payloads, "no end mark")
}

// waitMark waits for the mark in events called name, from the beginning of the log.
func (c *client) waitMark(t *testing.T, name, word string) {
	t.Helper()
	wait.Until(t, "mark "+word+" in "+name, func() bool {
		for _, h := range c.events(name) {
			if strings.Contains(string(h.Args[0]), fmt.Sprintf(`{"mark":%q}`, word)) {
				return true
			}
		}
		return false
	})
}
