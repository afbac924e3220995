package mockbot

import (
	"encoding/json"
	"fmt"
	"reflect"
	"regexp/syntax"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode/utf8"
)

// FuzzInterpret has a new bot interpret two hostile messages, and a reaction to each answer. Every answer must be
// valid, and quick.
func FuzzInterpret(f *testing.F) {
	for _, seed := range []string{
		"!help", "!help set", "!set a::b", "!set ^(a+)+$::[0]", "!set x::[a,[b,[c]]] [noun] [:x:] [👍]", "!remove a",
		"!poll t, a, b", `!xpoll "t" a`, "!schedule party in 2 days", "!schedule party Jan 2nd 2027 8:30 pm",
		"aaaaaaaaaaaaaaa!",
		"!set ^\\Q$::x", "!set ^[[:alpha:]]{3}\\pL$::x", "!set a\\::b\\", "!set \xff::\xfe", "!poll \u20e3,\u20e3",
	} {
		f.Add(seed, "aaaa a, x", "0⃣")
	}
	f.Add(`!set ^(\w+) (.*)$::[capture] [1] [0]`, "one two\u2028 ", "👍")
	f.Fuzz(func(t *testing.T, first, second, emoji string) {
		b := New(Config{MaxGuilds: 2, Now: fixedNow})
		for _, content := range []string{first, second} {
			for _, a := range interpretAny(t, b, content) {
				if a.Action == ActionMessageSent &&
					(a.MessageID%2 == 0 || !utf8.ValidString(a.Content) || a.Content == "") {
					t.Fatalf("%q: %+v", content, a)
				}
				if a.MessageID%2 != 0 && emoji != "" {
					if _, err := b.Interpret(t.Context(),
						Request{
							Action: ActionReactionAdded, GuildID: 1, MessageID: a.MessageID, Emoji: emoji,
						}); err != nil && len(emoji) <= MaxEmojiBytes {
						t.Fatal(err)
					}
				}
			}
		}
	})
}

// interpretAny gives what the bot does on a message, nothing where it is too long for a request.
func interpretAny(t *testing.T, b *Bot, content string) []Action {
	t.Helper()
	content = string([]rune(content)) // as it comes out of JSON, where invalid bytes are longer
	payload, err := json.Marshal(Request{
		Action: ActionMessageSent, GuildID: 1, MessageID: 2, Content: content,
		AllowedCommands: []string{"set", "remove", "poll", "xpoll", "schedule"},
	})
	if err != nil {
		t.Fatal(err)
	}
	req, err := Decode(payload)
	if err != nil {
		if _, ok := err.(*Error); !ok || len(content) <= MaxContentBytes && len(payload) <= maxRequestBytes &&
			content != "" {
			t.Fatalf("%q: %v", content, err)
		}
		return nil
	}
	started := time.Now()
	resp, err := b.Interpret(t.Context(), req)
	if err != nil {
		t.Fatal(err)
	}
	if took := time.Since(started); took > time.Minute {
		t.Fatalf("%q took %v", content, took)
	}
	return resp.Actions
}

// FuzzDecode: any bytes are a valid request or an *Error.
func FuzzDecode(f *testing.F) {
	f.Add([]byte(`{"action":3001,"guild_id":4211,"message_id":2,"content":"x","allowed_commands":["set"],"silent":true}`))
	f.Add([]byte(`{"action":"3100","guild_id":1e3,"message_id":-0,"emoji":"👍"}`))
	f.Add([]byte(strings.Repeat("[", 1000)))
	f.Fuzz(func(t *testing.T, payload []byte) {
		r, err := Decode(payload)
		if err != nil {
			if e, ok := err.(*Error); !ok || e.Code() < 400 || e.Word() == "" {
				t.Fatalf("%q: %v", payload, err)
			}
			return
		}
		if r.GuildID < 0 || r.GuildID >= MaxGuildID || len(r.Content) > MaxContentBytes {
			t.Fatalf("%q: %+v", payload, r)
		}
		again, err := json.Marshal(r)
		if err != nil {
			t.Fatal(err)
		}
		if r.Action == ActionMessageSent && r.Content == "" || len(again) > maxRequestBytes {
			return // not written the same way
		}
		if back, err := Decode(again); err != nil || !sameRequest(back, r) {
			t.Fatalf("%q is %+v and then %+v, %v", payload, r, back, err)
		}
	})
}

// sameRequest compares two requests, to which no commands and none named are the same.
func sameRequest(a, b Request) bool {
	same := slices.Equal(a.AllowedCommands, b.AllowedCommands)
	a.AllowedCommands, b.AllowedCommands = nil, nil
	return same && reflect.DeepEqual(a, b)
}

// FuzzResponse: what parses also comes back whole as tokens.
func FuzzResponse(f *testing.F) {
	for _, seed := range []string{"[a,[b]]", `\[`, "[:x:]", "[", "]", "[1][capture]", "a,b", "[👍]", `[\]]`} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, src string) {
		nodes, err := parseResponse(src)
		if err != nil {
			return
		}
		var b strings.Builder
		for _, token := range tokens(nodes) {
			b.WriteString(token[1])
		}
		if want := strings.NewReplacer("\r", "", "\n", "").Replace(src); b.String() != want {
			t.Fatalf("%q came back as %q", want, b.String())
		}
	})
}

// FuzzTrigger: any trigger parses or is refused, and one that parses is a small program: matching takes time in
// proportion to it.
func FuzzTrigger(f *testing.F) {
	for _, seed := range []string{"hi", "hi!", "^(a*)*$", "^(a|aa)+$", "^x{1000}$", `^\pL{9}$`, "^((a{9}){9}){9}$"} {
		f.Add(seed, strings.Repeat("a", 50))
	}
	f.Fuzz(func(t *testing.T, text, message string) {
		if len(message) > maxMatchedChars {
			return
		}
		tr, err := parseTrigger(text)
		if err != nil {
			return
		}
		ok := tr.match(message)
		switch {
		case tr.re == nil:
			if want := strings.EqualFold(without(message, tr.strip), text); ok != want {
				t.Fatalf("%q on %q: %v", text, message, ok)
			}
			if !tr.match(text) && without(text, tr.strip) == text {
				t.Fatalf("%q does not match itself", text)
			}
		default:
			if size := programSize(t, tr.re.String()); size > 4*maxTriggerCost {
				t.Fatalf("%q costs %d and compiles to %d instructions", text, tr.cost, size)
			}
		}
	})
}

// programSize is how many instructions an expression has.
func programSize(t *testing.T, expression string) int {
	t.Helper()
	re, err := syntax.Parse(expression, syntax.Perl)
	if err != nil {
		t.Fatal(err)
	}
	prog, err := syntax.Compile(re.Simplify())
	if err != nil {
		t.Fatal(err)
	}
	return len(prog.Inst)
}

// BenchmarkWorst are the costliest messages known of each kind. The step's price is what the budget goes by.
func BenchmarkWorst(b *testing.B) {
	matching := strings.Repeat("a", maxMatchedChars)
	expression := func(i int) string {
		return "^(.*)" + strings.Repeat("(a*)", 18) + strings.Repeat("(?:a|ba)?", 20+i) + ".*x$"
	}
	texts := func(response string) (set []string) {
		for i := range 10 {
			set = append(set, fmt.Sprintf("%s%d::%s", strings.Repeat("a", 400), i, response))
		}
		return set
	}
	for _, w := range []struct {
		name    string
		set     []string
		message string
	}{
		{"match", []string{expression(0) + "::y"}, matching},
		{"capture", []string{strings.Replace(expression(0), "x$", "$", 1) + "::y"}, matching},
		{"texts", texts("y"), matching},
		{"lists", []string{"a::" + strings.Repeat("[]", 4000)}, "a"},
		{"nested", []string{"a::" + strings.Repeat(strings.Repeat("[", 31)+"<"+strings.Repeat("]", 31), 100)}, "a"},
		{"newlines", []string{"^((?s).*)$::" + strings.Repeat("[0]", 2666)}, strings.Repeat("\n", maxMatchedChars)},
		{"collide", texts("y"), "!set " + expression(0) + "::y"},
		{"classes", nil, "!set ^[" + strings.Repeat(`\pL`, 14) + "]($::y"},
		{"perl classes", nil, "!set ^" + strings.Repeat(`\W`, 245) + "($::y"},
		{"range", nil, "!set ^[B-\U0001E900]($::y"},
		{"poll", nil, "!poll " + strings.Repeat("a,", 8000)},
	} {
		b.Run(w.name, func(b *testing.B) {
			bot := New(Config{StepsPerSecond: 1 << 30, Now: fixedNow})
			send := func(content string) Response {
				resp, err := bot.Interpret(b.Context(), Request{
					Action: ActionMessageSent, GuildID: 1, Content: content, AllowedCommands: []string{"set", "poll"},
				})
				if err != nil {
					b.Fatal(err)
				}
				return resp
			}
			for _, args := range w.set {
				if resp := send("!set " + args); !strings.HasPrefix(resp.Actions[0].Content, "✅") {
					b.Fatal(resp)
				}
			}
			left := bot.budget.left
			send(w.message)
			steps := left - bot.budget.left
			b.ReportAllocs()
			for b.Loop() {
				send(w.message)
			}
			b.ReportMetric(float64(steps), "steps")
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*steps), "ns/step")
		})
	}
}
