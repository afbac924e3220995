package demo

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/alicebob/miniredis/v2"
	"github.com/redis/go-redis/v9"
	"go.uber.org/goleak"

	"github.com/architus/guildcast/history"
	"github.com/architus/guildcast/internal/botwire"
	"github.com/architus/guildcast/internal/mockbot"
	"github.com/architus/guildcast/internal/test/wait"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func newRedis(t *testing.T) (*miniredis.Miniredis, *redis.Client) {
	t.Helper()
	m := miniredis.RunT(t)
	client := redis.NewClient(&redis.Options{Addr: m.Addr(), MaintNotificationsConfig: nil})
	t.Cleanup(func() { client.Close() })
	return m, client
}

func TestSeedWritesWhatTheWorldHolds(t *testing.T) {
	m, client := newRedis(t)
	w := NewWorld(Config{Members: 1500})
	if err := w.Seed(t.Context(), client); err != nil {
		t.Fatal(err)
	}
	members, _ := m.HKeys("guildcast:pool:{" + GuildID + "}:member")
	if len(members) != 1500 {
		t.Errorf("%d members are cached, want 1500", len(members))
	}
	users, _ := m.HKeys("guildcast:pool:{global}:user")
	for _, id := range members {
		if !slices.Contains(users, id) {
			t.Fatalf("member %s has no user", id)
		}
	}
	if len(w.former) != formerUsers || slices.Contains(users, w.former[0]) {
		t.Errorf("former users %v must not be cached", w.former)
	}
	online, _ := m.SMembers("guildcast:online:{" + GuildID + "}")
	if len(online) < 100 || !slices.Equal(online, w.Online(GuildID)) {
		t.Errorf("%d are online in the cache, %d in the world", len(online), len(w.Online(GuildID)))
	}
	for _, a := range Accounts() {
		for guild := range a.Guilds {
			if m.HGet("guildcast:pool:{"+guild+"}:member", a.UserID) == "" {
				t.Errorf("%s is no member of %s", a.Key, guild)
			}
		}
	}
}

func TestStreamIsDeterministic(t *testing.T) {
	record := func(seed uint64) string {
		s := NewWorld(Config{Seed: seed}).Stream()
		now := Epoch.AddDate(8, 0, 0)
		var all []byte
		for range 500 {
			now = now.Add(time.Second)
			step, err := s.Next(now)
			if err != nil {
				t.Fatal(err)
			}
			b, _ := json.Marshal(step)
			all = append(all, b...)
		}
		return string(all)
	}
	if first, second := record(7), record(7); first != second {
		t.Error("the same seed gave two sequences")
	}
	if record(7) == record(8) {
		t.Error("two seeds gave the same sequence")
	}
}

// actionKinds is the contract's table, as far as the stream uses it.
func actionKind(n int) string {
	switch {
	case n == 1 || n == 2000:
		return "guild"
	case n >= 10 && n <= 15:
		return "channel"
	case n >= 20 && n <= 23 || n == 26 || n == 27:
		return "moderation"
	case n == 24 || n == 25 || n == 2001 || n == 2002:
		return "member"
	case n >= 30 && n <= 32:
		return "role"
	case n >= 40 && n <= 42:
		return "invite"
	case n >= 50 && n <= 52:
		return "webhook"
	case n >= 60 && n <= 62 || n >= 3400 && n <= 3403:
		return "emoji"
	case n >= 72 && n <= 75 || n >= 3001 && n <= 3003 || n >= 2003 && n <= 2005:
		return "message"
	case n == 28 || n >= 80 && n <= 82:
		return "integration"
	case n >= 2006 && n <= 2008 || n == 3100 || n == 3101:
		return "reaction"
	case n == 2009:
		return "interaction"
	case n >= 3200 && n <= 3203:
		return "auto_response"
	case n == 3300 || n == 3301:
		return "administrator"
	}
	return ""
}

func TestStreamUsesEveryKindAndStaysBounded(t *testing.T) {
	w := NewWorld(Config{})
	s := w.Stream()
	now := Epoch.AddDate(8, 0, 0)
	seen := map[string]int{}
	for range 20_000 {
		now = now.Add(300 * time.Millisecond)
		step, err := s.Next(now)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range step.Messages {
			var e struct {
				Kind    string
				Private bool
				Number  int `json:"action_number"`
			}
			if err := json.Unmarshal(m.Payload, &e); err != nil {
				t.Fatalf("%s: %v", m.Payload, err)
			}
			if e.Number != 0 {
				e.Kind = actionKind(e.Number)
			}
			if e.Kind == "" {
				t.Fatalf("no kind: %s", m.Payload)
			}
			seen[e.Kind]++
			if e.Private {
				seen["private"]++
			}
		}
	}
	for _, kind := range []string{
		"guild", "channel", "role", "emoji", "member", "user", "auto_response", "setting", "message", "reaction",
		"invite",
		"webhook", "integration", "interaction", "moderation", "administrator", "internal", "private",
	} {
		if seen[kind] == 0 {
			t.Errorf("nothing of kind %s in 20,000 steps", kind)
		}
	}
	if n := len(all[*Member](w, GuildID, TypeMember)); n < 240-maxDrift || n > 240+maxDrift {
		t.Errorf("the guild drifted to %d members", n)
	}
	// Members, those who left of late, and those who were never cached; another guild has some of its own.
	members := len(all[*Member](w, GuildID, TypeMember)) + len(all[*Member](w, SecondGuildID, TypeMember))
	if n := len(all[*User](w, "", TypeUser)); n > members+maxGone+formerUsers {
		t.Errorf("%d users of %d members", n, members)
	}
	if len(s.gone) != maxGone || lookup[*User](w, "", TypeUser, s.gone[0]) == nil {
		t.Errorf("%d users who left are known, not %d", len(s.gone), maxGone)
	}
	if n := len(all[*AutoResponse](w, GuildID, TypeAutoResponse)); n > maxResponses {
		t.Errorf("%d auto responses", n)
	}
}

// TestStepsKeepCacheAndWorldEqual applies many steps and compares.
func TestStepsKeepCacheAndWorldEqual(t *testing.T) {
	m, client := newRedis(t)
	w := NewWorld(Config{})
	if err := w.Seed(t.Context(), client); err != nil {
		t.Fatal(err)
	}
	s, now := w.Stream(), Epoch.AddDate(8, 0, 0)
	events := history.NewPublisher(client, history.PublisherOptions{})
	for range 1000 {
		now = now.Add(300 * time.Millisecond)
		step, err := s.Next(now)
		if err != nil {
			t.Fatal(err)
		}
		if err := step.Apply(t.Context(), client, events); err != nil {
			t.Fatal(err)
		}
	}
	for _, k := range w.keys() {
		data, err := w.All(k.guild, k.typ)
		if err != nil {
			t.Fatal(err)
		}
		ids, _ := m.HKeys(botwire.PoolKey(k.guild, k.typ))
		if k.typ == TypeUser {
			ids = append(ids, w.former...)
		}
		if len(ids) != len(data) {
			t.Errorf("%s: %d are cached, the world has %d", botwire.PoolKey(k.guild, k.typ), len(ids), len(data))
		}
		for _, d := range data {
			var e struct{ ID string }
			if err := json.Unmarshal(d, &e); err != nil {
				t.Fatal(err)
			}
			if got := m.HGet(botwire.PoolKey(k.guild, k.typ), e.ID); got != string(d) &&
				!slices.Contains(w.former, e.ID) {
				t.Errorf("%s %s: cached %s, world %s", botwire.PoolKey(k.guild, k.typ), e.ID, got, d)
			}
		}
	}
	online, _ := m.SMembers(botwire.OnlineKey(GuildID))
	if !slices.Equal(online, w.Online(GuildID)) {
		t.Error("the online sets differ")
	}
}

// notes are the lines of a log.
type notes chan string

func (n notes) Write(line []byte) (int, error) {
	n <- string(line)
	return len(line), nil
}

func TestGeneratorSurvivesAnOutage(t *testing.T) {
	m, client := newRedis(t)
	w := NewWorld(Config{})
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	sub := client.Subscribe(ctx, GuildID, GuildID+"_logs")
	defer sub.Close()
	if _, err := sub.Receive(ctx); err != nil {
		t.Fatal(err)
	}
	events := sub.Channel()
	paused := make(notes, 10)
	g := NewGenerator(w, client, GeneratorConfig{
		Interval: time.Millisecond, Logger: slog.New(slog.NewTextHandler(paused, nil)),
	})
	go func() { done <- g.Run(ctx) }()
	<-events
	m.SetError("ERR out of order") // one that the client does not retry
	m.FlushAll()
	<-paused
	m.SetError("")
	wait.Until(t, "the channels to be cached again", func() bool {
		keys, _ := m.HKeys("guildcast:pool:{" + GuildID + "}:channel")
		return len(keys) == len(channelNames())
	})
	for range 300 { // more than may have come before
		<-events
	}
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
}

func TestAutoResponsesAreThoseOfTheBot(t *testing.T) {
	for _, r := range all[*AutoResponse](NewWorld(Config{}), GuildID, TypeAutoResponse) {
		if r.Mode == "" || r.TriggerRegex == "" || len(r.ResponseTokens) == 0 {
			t.Errorf("%s::%s does not parse: %+v", r.Trigger, r.Response, r)
		}
	}
}

func TestWorkerInterprets(t *testing.T) {
	worker := NewWorker(NewWorld(Config{Members: 10}), mockbot.New(mockbot.Config{}))
	args := `{"action":3001,"guild_id":1,"message_id":2,"content":"!set a::b","allowed_commands":["set"]}`
	err := worker.Handle(t.Context(), "interpret", []byte(args), func(b []byte, more bool) error {
		if more || !strings.Contains(string(b), "successfully set") {
			t.Errorf("%s", b)
		}
		return nil
	})
	if err != nil {
		t.Error(err)
	}
	var coded interface{ Code() int }
	err = worker.Handle(t.Context(), "interpret", []byte(`{}`), nil)
	if !errors.As(err, &coded) || coded.Code() != 400 {
		t.Errorf("%v", err)
	}
}

func TestGeneratorPace(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := NewGenerator(NewWorld(Config{}), nil, GeneratorConfig{})
		s := g.world.Stream()
		var total time.Duration
		for range 1000 {
			d := g.pause(s)
			if d < 75*time.Millisecond || d > 525*time.Millisecond {
				t.Fatalf("pause of %v", d)
			}
			total += d
		}
		if mean := total / 1000; mean < 280*time.Millisecond || mean > 320*time.Millisecond {
			t.Errorf("mean pause %v, want about 300 ms", mean)
		}
	})
}

func TestWorkerAnswers(t *testing.T) {
	w := NewWorld(Config{Members: 2500})
	worker := NewWorker(w, nil)
	ask := func(method, args string) (parts []poolResult, err error) {
		more := true
		err = worker.Handle(t.Context(), method, []byte(args), func(b []byte, m bool) error {
			if !more {
				t.Error("a part after the last")
			}
			var r poolResult
			if err := json.Unmarshal(b, &r); err != nil {
				t.Fatal(err)
			}
			if r.Data == nil || r.Nonexistent == nil {
				t.Errorf("null list in %s", b)
			}
			parts, more = append(parts, r), m
			return nil
		})
		if err == nil && more {
			t.Error("no last part")
		}
		return parts, err
	}
	parts, err := ask("all", `{"type":"member","guild_id":"`+GuildID+`"}`)
	if err != nil || len(parts) != 3 || len(parts[2].Data) != 500 {
		t.Errorf("all: %d parts, %v", len(parts), err)
	}
	parts, err = ask("fetch", `{"type":"user","ids":["`+w.former[0]+`","42"]}`)
	if err != nil || len(parts) != 1 || len(parts[0].Data) != 1 || !slices.Equal(parts[0].Nonexistent, []string{"42"}) {
		t.Errorf("fetch: %+v, %v", parts, err)
	}
	parts, err = ask("all", `{"type":"role","guild_id":"1"}`)
	if err != nil || len(parts) != 1 || len(parts[0].Data) != 0 {
		t.Errorf("all of a foreign guild: %+v, %v", parts, err)
	}
	parts, err = ask("search", `{"type":"member","guild_id":"`+GuildID+`","query":"JUNIPR","limit":5}`)
	if err != nil || len(parts) != 1 || len(parts[0].Data) == 0 ||
		!strings.Contains(string(parts[0].Data[0]), MemberID) {
		t.Errorf("search: %+v, %v", parts, err)
	}
	parts, err = ask("search", `{"type":"role","guild_id":"`+GuildID+`","query":"x","limit":5}`)
	if err != nil || len(parts) != 1 || len(parts[0].Data) != 0 {
		t.Errorf("search of roles: %+v, %v", parts, err)
	}
	for _, bad := range [][2]string{
		{"fetch", "["}, {"fetch", `{"type":"x"}`}, {"drop", `{"type":"user"}`}, {"interpret", "{}"},
	} {
		if _, err := ask(bad[0], bad[1]); err == nil {
			t.Errorf("%s %s was answered", bad[0], bad[1])
		}
	}
}
