package mockbot

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// fixedNow is a Friday.
func fixedNow() time.Time { return time.Date(2026, time.November, 20, 15, 4, 5, 0, time.UTC) }

func testBot(c Config) *Bot {
	if c.Now == nil {
		c.Now = fixedNow
	}
	return New(c)
}

// chat is a conversation in one mock guild.
type chat struct {
	t     *testing.T
	bot   *Bot
	guild int64
	next  int64
}

func newChat(t *testing.T, b *Bot) *chat { return &chat{t: t, bot: b, guild: 4211} }

func (c *chat) do(r Request) []Action {
	c.t.Helper()
	r.GuildID = c.guild
	resp, err := c.bot.Interpret(c.t.Context(), r)
	if err != nil {
		c.t.Fatalf("%+v: %v", r, err)
	}
	if resp.GuildID != c.guild || resp.Actions == nil {
		c.t.Fatalf("%+v: %+v", r, resp)
	}
	return resp.Actions
}

func (c *chat) send(content string) []Action {
	c.t.Helper()
	c.next += 2
	return c.do(Request{
		Action: ActionMessageSent, MessageID: c.next, Content: content,
		AllowedCommands: []string{"set", "remove", "poll", "xpoll", "schedule"},
	})
}

// say sends and gives the text of the one message that came back.
func (c *chat) say(content string) string {
	c.t.Helper()
	text := ""
	for _, a := range c.send(content) {
		if a.Action != ActionMessageSent {
			continue
		}
		if a.MessageID%2 == 0 || text != "" {
			c.t.Errorf("%q: unexpected %+v", content, a)
		}
		text = a.Content
	}
	return text
}

func (c *chat) expect(content, want string) {
	c.t.Helper()
	if got := c.say(content); got != want {
		c.t.Errorf("%q\n got %q\nwant %q", content, got, want)
	}
}

func TestHelp(t *testing.T) {
	c := newChat(t, testBot(Config{}))
	got := c.say("!help")
	for _, name := range []string{"set", "remove", "schedule", "poll", "xpoll"} {
		if !strings.Contains(got, "```"+name+": "+name) {
			t.Errorf("no block for %s in %q", name, got)
		}
	}
	if got := c.say("!help set"); !strings.HasPrefix(got, "```set - set <trigger>::<response>") {
		t.Errorf("help set: %q", got)
	}
	only := c.do(Request{Action: ActionMessageSent, Content: "!help", AllowedCommands: []string{"poll", "nonsense"}})
	if len(only) != 1 || strings.Contains(only[0].Content, "set") ||
		!strings.Contains(only[0].Content, "poll: poll title, option1") {
		t.Errorf("help with one command: %+v", only)
	}
	for content, want := range map[string]string{
		"!help": "❌ there are no commands here", "!help set": "❌ there are no commands here",
	} {
		if none := c.do(Request{Action: ActionMessageSent, Content: content}); len(none) != 1 ||
			none[0].Content != want {
			t.Errorf("%s without commands: %+v", content, none)
		}
	}
	if got := c.say("!help me"); got != "❌ idk that command" {
		t.Errorf("help with what is no command: %q", got)
	}
}

func TestSetAndRemove(t *testing.T) {
	c := newChat(t, testBot(Config{}))
	for _, tc := range [][2]string{
		{"!set hi::hey", "✅ `hi::hey` _successfully set_"},
		{"hi", "hey"},
		{"HI!", "hey"},
		{"hi there", ""},
		{"!SET  Good Bye :: see you ", "✅ `Good Bye::see you` _successfully set_"},
		{"good, bye...", "see you"},
		{"!set a::b::c", "✅ `a::b::c` _successfully set_"},
		{"a", "b::c"},
		{"!set hi", "❌ use the syntax: `trigger::response`"},
		{"!set hi:hey", "❌ use the syntax: `trigger::response`"},
		{"!set ::hey", "❌ use the syntax: `trigger::response`"},
		{"!set hi:: ", "❌ use the syntax: `trigger::response`"},
		{"!set", "❌ use the syntax: `trigger::response`"},
		{"!set hI::other", "❌ sorry that trigger collides with the following auto responses:\n`hi::hey`"},
		{"!set x::[a", "❌ unable to parse that response: `Unmatched bracket`"},
		{"!set x::a]", "❌ unable to parse that response: `This bracket has no opening bracket`"},
		{"!set x::[[a]", "❌ unable to parse that response: `Missed a closing bracket somewhere`"},
		{"!set ^(x$::y", "❌ unable to parse your trigger: `missing closing )`"},
		{"!set ^x)|(y$::z", "❌ unable to parse your trigger: `unexpected )`"},
		{"!set ^(?=a)b$::z", "❌ unable to parse your trigger: `invalid or unsupported Perl syntax`"},
		{"!remove nothing", "❌ idk what response you want me to remove"},
		{"!remove HI", "❌ idk what response you want me to remove"},
		{"!remove", "❌ idk what response you want me to remove"},
		{"!remove hi", "✅ `hi::hey` _successfully removed_"},
		{"hi", ""},
		{"!remove Good Bye::whatever", "✅ `Good Bye::see you` _successfully removed_"},
		{"!set hi::again", "✅ `hi::again` _successfully set_"},
		{"?set no::no", ""},
		{"set no::no", ""},
		{"", ""},
		{"   ", ""},
		{"!", ""},
	} {
		c.expect(tc[0], tc[1])
	}
}

func TestCollisionsAreListedUpToFour(t *testing.T) {
	c := newChat(t, testBot(Config{}))
	for i := range 6 {
		c.say(fmt.Sprintf("!set word%d::r", i))
	}
	got := c.say("!set ^word\\d$::x")
	want := "❌ sorry that trigger collides with the following auto responses:\n" +
		"`word0::r`\n`word1::r`\n`word2::r`\n`word3::r`\n_...2 more not shown_"
	if got != want {
		t.Errorf("got %q", got)
	}
}

func TestAllowedCommandsAndSilence(t *testing.T) {
	c := newChat(t, testBot(Config{}))
	if got := c.do(Request{
		Action: ActionMessageSent, Content: "!set a::b", AllowedCommands: []string{"remove"},
	}); len(got) != 0 {
		t.Errorf("a command that is not allowed did %+v", got)
	}
	c.expect("a", "")
	set := Request{Action: ActionMessageSent, Content: "!set a::b", AllowedCommands: []string{"set"}, Silent: true}
	if got := c.do(set); len(got) != 0 {
		t.Errorf("silent set said %+v", got)
	}
	c.expect("a", "b")
	c.say("!set !poll::that is mine")
	poll := Request{Action: ActionMessageSent, Content: "!poll"}
	if got := c.do(poll); len(got) != 1 || got[0].Content != "that is mine" {
		t.Errorf("a command that is not allowed is a message like any other: %+v", got)
	}
}

func TestTriggers(t *testing.T) {
	for _, tc := range []struct {
		trigger string
		mode    string
		yes, no []string
	}{
		{
			"hello world", ModeNaive, []string{"Hello, World!", "hello world"},
			[]string{"hello  world", "hello world ", "helloworld"},
		},
		{"what?", ModePunctuated, []string{"what?", "WHAT?!!", "w.h.a.t?"}, []string{"what", "what??"}},
		{"it's me", ModePunctuated, []string{"It's me!", "it's me"}, []string{"its me"}},
		{"^ab+c$", ModeRegex, []string{"abc", "ABBBC"}, []string{"xabc", "abc!", "ac"}},
		{"^a|b$", ModeRegex, []string{"a", "b"}, []string{"ab", "ax"}},
		{"^.*$", ModeRegex, []string{"", "anything at all"}, nil},
		{`^\Qa.b$`, ModeRegex, []string{"a.b"}, []string{"axb", "a.b)"}},
		{`^\Qa.b\$`, ModeRegex, []string{`a.b\`}, []string{`axb\`, `a.b`}},
		{`^\Qa.\Eb\\Q?$`, ModeRegex, []string{`a.b\`, `A.B\Q`}, []string{`axb\`, `a.b`}},
		{`^[\w.-]+[!-\/][а-я][\x{80}-\x{10ffff}]$`, ModeRegex, []string{`a.!жЖ`}, []string{"a.!жa"}},
		{`^\p{Greek}\pL$`, ModeRegex, []string{`ωЖ`}, []string{"aa"}},
		{`^\d{3}$`, ModeRegex, []string{"123"}, []string{"12", "1234"}},
		{"ÄPFEL", ModeNaive, []string{"äpfel", "Äpfel."}, []string{"apfel"}},
		{"^", ModePunctuated, []string{"^"}, []string{"", "$"}},
	} {
		tr, err := parseTrigger(tc.trigger)
		if err != nil {
			t.Errorf("%q: %v", tc.trigger, err)
			continue
		}
		if tr.mode != tc.mode {
			t.Errorf("%q is %s, want %s", tc.trigger, tr.mode, tc.mode)
		}
		for _, m := range tc.yes {
			if !tr.match(m) {
				t.Errorf("%q does not match %q", tc.trigger, m)
			}
		}
		for _, m := range tc.no {
			if tr.match(m) {
				t.Errorf("%q matches %q", tc.trigger, m)
			}
		}
	}
}

func TestTriggersThatCostTooMuch(t *testing.T) {
	for _, bad := range []string{
		"^(a{1,200}){5}$", "^((((((x{9}){9}){9}){9}){9}){9})$", `^[\pL\pN]{100}$`,
		"^" + strings.Repeat("(a)", 30) + "$", "^" + strings.Repeat("(", 240) + strings.Repeat(")", 240) + "$",
		strings.Repeat("a", 501), "^" + strings.Repeat("a?", 240) + "$", "^[" + strings.Repeat(`\pL`, 120) + "]$",
		"^" + strings.Repeat("[B-\U0001E900]", 90) + "$", "^" + strings.Repeat(`[B-\x{1e900}]`, 30) + "$",
	} {
		if _, err := parseTrigger(bad); err == nil {
			t.Errorf("%.40q was accepted", bad)
		}
	}
}

func TestCollision(t *testing.T) {
	for _, tc := range []struct {
		a, b string
		want bool
	}{
		{"hi", "HI", true}, {"hi", "hi!", true}, {"hi?", "hi!", false}, {"^hi$", "hi", true}, {"^h.$", "hi", true},
		{"^h.$", "^ha$", false}, {"^h.$", "^H.$", true}, {"hello", "help", false}, {"^.*$", "^a$", false},
		{"^.*$", "a b", true},
	} {
		a, errA := parseTrigger(tc.a)
		b, errB := parseTrigger(tc.b)
		if errA != nil || errB != nil {
			t.Fatal(errA, errB)
		}
		if a.collides(b) != tc.want || b.collides(a) != tc.want {
			t.Errorf("%q and %q: want %v", tc.a, tc.b, tc.want)
		}
	}
}

func TestResponses(t *testing.T) {
	for _, tc := range []struct {
		trigger, response, message string
		want                       []string // any of these
	}{
		{"x", "plain text", "x", []string{"plain text"}},
		{"x", "[a,b]", "x", []string{"a", "b"}},
		{"x", "<[a, b ]>", "x", []string{"<a>", "< b >"}},
		{"x", "[owl]", "x", []string{"owl"}},
		{
			"x", "[one [two, three [four,five]], six]", "x",
			[]string{"one two", "one  three four", "one  three five", " six"},
		},
		{"x", "a, b", "x", []string{"a, b"}},
		{"x", `\[a\] \\ \, [b\,c]`, "x", []string{`[a] \ , b,c`}},
		{"x", `end\`, "x", []string{`end\`}},
		{"x", "[COUNT] [Count]", "x", []string{"1 1"}},
		{"x", "[author]", "x", []string{"you"}},
		{"x", "[member]", "x", []string{"you", "architus"}},
		{"x", "[0][1][capture]?", "x", []string{"?"}},
		{"^(\\w+) is (\\w+)$", "[1] was [0], [capture][9]", "Sky is Blue", []string{"Blue was Sky, Blue"}},
		{"^a(b)?c$", "<[0]>", "ac", []string{"<>"}},
		{"x", "[]", "x", []string{""}},
		{"x", "a[]b[[]]", "x", []string{"ab"}},
		{"x", "[not a :shortcode:]", "x", []string{"not a :shortcode:"}},
		{"x", "[1a]", "x", []string{"1a"}},
	} {
		c := newChat(t, testBot(Config{}))
		if got := c.say("!set " + tc.trigger + "::" + tc.response); !strings.HasPrefix(got, "✅") {
			t.Errorf("%q: %s", tc.response, got)
			continue
		}
		got := c.say(tc.message)
		found := false
		for _, w := range tc.want {
			found = found || got == w
		}
		if !found {
			t.Errorf("%q said %q, want one of %q", tc.response, got, tc.want)
		}
	}
}

func TestEveryListElementIsChosen(t *testing.T) {
	c := newChat(t, testBot(Config{}))
	c.say("!set x::[a,b,c]")
	seen := map[string]int{}
	for range 300 {
		seen[c.say("x")]++
	}
	if len(seen) != 3 || seen["a"] < 50 || seen["b"] < 50 || seen["c"] < 50 {
		t.Errorf("chosen %v", seen)
	}
}

func TestCountAndWords(t *testing.T) {
	c := newChat(t, testBot(Config{}))
	c.say("!set x::[count]")
	for i := 1; i < 5; i++ {
		c.expect("x", fmt.Sprint(i))
	}
	c.say("!set w::[Adv] [ADJ] [noun]")
	words := strings.Fields(c.say("w"))
	if len(words) != 3 || len(nouns()) < 100 || len(adjectives()) < 100 || len(adverbs()) < 100 {
		t.Errorf("words %q", words)
	}
}

func TestNewlinesAndLongResponses(t *testing.T) {
	c := newChat(t, testBot(Config{}))
	c.say("!set x::one\ntwo\r\nthree")
	c.expect("x", "onetwothree")
	c.say("!set long::" + strings.Repeat("é", 2000))
	c.expect("long", strings.Repeat("é", 2000))
	c.say("!set longer::" + strings.Repeat("é", 2001))
	c.expect("longer", "*content of response was over character limit (500)*")
	c.say("!set ^e(.*)$::" + strings.Repeat("[0]", 2000))
	c.expect("e"+strings.Repeat("o", 1500), "*content of response was over character limit (500)*")
	if got := c.say("!set huge::" + strings.Repeat("x", 8001)); !strings.HasPrefix(got, "❌ that response is too long") {
		t.Errorf("got %.100q", got)
	}
	if got := c.say("!set deep::" + strings.Repeat("[", 33) + strings.Repeat("]", 33)); !strings.Contains(got,
		"nested too deeply") {
		t.Errorf("got %.100q", got)
	}
}

func TestReactions(t *testing.T) {
	c := newChat(t, testBot(Config{}))
	c.say("!set ^.*owl.*$::[:owl:][<:hoot:12345>][<a:spin:6>]")
	c.say("!set ^good owl$::thanks [👍][👍][👨‍👩‍👧]")
	got := c.send("good owl")
	want := []Action{
		{Action: ActionReactionAdded, MessageID: c.next, Emoji: ":owl:"},
		{Action: ActionReactionAdded, MessageID: c.next, Emoji: "<:hoot:12345>"},
		{Action: ActionReactionAdded, MessageID: c.next, Emoji: "<a:spin:6>"},
		{Action: ActionMessageSent, Content: "thanks "},
		{Action: ActionReactionAdded, MessageID: c.next, Emoji: "👍"},
		{Action: ActionReactionAdded, MessageID: c.next, Emoji: "👨‍👩‍👧"},
	}
	if len(got) != len(want) {
		t.Fatalf("got %+v", got)
	}
	for i := range got {
		if got[i].Action == ActionMessageSent {
			got[i].MessageID = 0
		}
		if got[i] != want[i] {
			t.Errorf("action %d: got %+v, want %+v", i, got[i], want[i])
		}
	}
}

func TestEmojis(t *testing.T) {
	for _, yes := range []string{
		"👍", "👍🏽", "❤️", "❤", "🇳🇴", "1️⃣", "1⃣", "#️⃣", "👩‍💻", "🏴\U000E0067\U000E0062\U000E007F", "✅", "🤷‍♀️", "⭐",
	} {
		if !isEmoji(yes) {
			t.Errorf("%q is an emoji", yes)
		}
	}
	for _, no := range []string{
		"", "a", "👍👍", "👍 ", "1", "🇳", "\u200d", "👍\u200d", "日本", "a👍", strings.Repeat("👍\u200d", 40) + "👍",
	} {
		if isEmoji(no) {
			t.Errorf("%q is no emoji", no)
		}
	}
}

func TestPoll(t *testing.T) {
	c := newChat(t, testBot(Config{}))
	got := c.send("!poll best pet, cat , dog,, owl")
	if len(got) != 4 || got[0].Content != "**__best pet__**\n0⃣ **cat (0)**: \n1⃣ **dog (0)**: \n2⃣ **owl (0)**: " {
		t.Fatalf("%+v", got)
	}
	id := got[0].MessageID
	for i, a := range got[1:] {
		if a != (Action{Action: ActionReactionAdded, MessageID: id, Emoji: fmt.Sprintf("%d\u20e3", i)}) {
			t.Errorf("reaction %+v", a)
		}
	}
	vote := func(action int, emoji string) []Action {
		return c.do(Request{Action: action, MessageID: id, Emoji: emoji})
	}
	text := func(actions []Action) string {
		if len(actions) != 1 || actions[0].Action != ActionMessageEdited || actions[0].MessageID != id {
			t.Fatalf("%+v", actions)
		}
		return actions[0].Content
	}
	if got := text(vote(ActionReactionAdded, "1️⃣")); !strings.Contains(got, "1⃣ **dog (1)**: you\n") {
		t.Errorf("%q", got)
	}
	if got := text(vote(ActionReactionAdded, "0⃣")); !strings.Contains(got, "cat (1)**: you\n1⃣ **dog (1)**: you") {
		t.Errorf("%q", got)
	}
	if got := text(vote(ActionReactionRemoved, "1⃣")); !strings.Contains(got, "cat (1)**: you\n1⃣ **dog (0)**: \n") {
		t.Errorf("%q", got)
	}
	for _, nothing := range [][]Action{
		vote(ActionReactionRemoved, "1⃣"), vote(ActionReactionAdded, "0⃣"), vote(ActionReactionAdded, "3⃣"),
		vote(ActionReactionAdded, "👍"), c.do(Request{Action: ActionReactionAdded, MessageID: id + 2, Emoji: "0⃣"}),
	} {
		if len(nothing) != 0 {
			t.Errorf("%+v", nothing)
		}
	}
}

func TestPollForms(t *testing.T) {
	c := newChat(t, testBot(Config{}))
	for _, tc := range [][2]string{
		{`!poll "one, two" a, b`, "**__one, two__**\n0⃣ **a (0)**: \n1⃣ **b (0)**: "},
		{`!poll "quoted", a`, "**__quoted__**\n0⃣ **a (0)**: "},
		{`!poll "open, a`, "**__\"open__**\n0⃣ **a (0)**: "},
		{`!poll title`, "Please specify at least 1 option"},
		{`!poll title,`, "Please specify at least 1 option"},
		{`!poll`, "Please specify at least 1 option"},
		{`!xpoll`, "Please specify at least 1 option"},
	} {
		c.expect(tc[0], tc[1])
	}
	if got := c.send("!poll t,0,1,2,3,4,5,6,7,8,9,10,11"); len(got) != 11 || strings.Contains(got[0].Content, "10") {
		t.Errorf("more than ten options: %+v", got)
	}
}

func TestExclusivePoll(t *testing.T) {
	c := newChat(t, testBot(Config{}))
	id := c.send("!xpoll t, a, b")[0].MessageID
	c.do(Request{Action: ActionReactionAdded, MessageID: id, Emoji: "0⃣"})
	got := c.do(Request{Action: ActionReactionAdded, MessageID: id, Emoji: "1⃣"})
	want := []Action{
		{Action: ActionMessageEdited, MessageID: id, Content: "**__t__**\n0⃣ **a (0)**: \n1⃣ **b (1)**: you"},
		{Action: ActionReactionRemoved, MessageID: id, Emoji: "0⃣", TargetsUser: true},
	}
	if len(got) != 2 || got[0] != want[0] || got[1] != want[1] {
		t.Errorf("%+v", got)
	}
	// The client then removes the reaction and says so: nothing is left to do.
	if got := c.do(Request{Action: ActionReactionRemoved, MessageID: id, Emoji: "0⃣"}); len(got) != 0 {
		t.Errorf("%+v", got)
	}
}

func TestSchedule(t *testing.T) {
	c := newChat(t, testBot(Config{}))
	got := c.send("!schedule movie night Jan 2 8pm")
	if len(got) != 4 || got[0].Content != "**__movie night__**\n**Time:** Jan 02 08:00PM\n"+
		":white_check_mark: Yes (0): \n:x: No (0): \n:shrug: Maybe (0): " {
		t.Fatalf("%+v", got)
	}
	id := got[0].MessageID
	for i, emoji := range []string{"✅", "❌", "🤷"} {
		if got[i+1] != (Action{Action: ActionReactionAdded, MessageID: id, Emoji: emoji}) {
			t.Errorf("%+v", got[i+1])
		}
	}
	got = c.do(Request{Action: ActionReactionAdded, MessageID: id, Emoji: "✅"})
	if len(got) != 1 || !strings.Contains(got[0].Content, ":white_check_mark: Yes (1): you\n:x: No (0): \n") {
		t.Errorf("%+v", got)
	}
	got = c.do(Request{Action: ActionReactionAdded, MessageID: id, Emoji: "🤷"})
	if len(got) != 2 || got[0].Action != ActionMessageEdited || !got[1].TargetsUser ||
		!strings.HasSuffix(got[0].Content, "Yes (0): \n:x: No (0): \n:shrug: Maybe (1): you") {
		t.Errorf("%+v", got)
	}
	for _, bad := range []string{
		"!schedule", "!schedule party", "!schedule 8pm", "!schedule party at noonish", "!schedule party 2/29",
	} {
		c.expect(bad, "❌ use the syntax: `schedule <title> <time>`")
	}
}

func TestScheduleTitleAndTime(t *testing.T) {
	for _, tc := range []struct{ args, title, time string }{
		{"dinner 8pm", "dinner", "Nov 20 08:00PM"},
		{"dinner at 8 PM", "dinner", "Nov 20 08:00PM"},
		{"dinner at 8:30 p.m.", "dinner", "Nov 20 08:30PM"},
		{"dinner 20:05", "dinner", "Nov 20 08:05PM"},
		{"lunch with Bob tomorrow noon", "lunch with Bob", "Nov 21 12:00PM"},
		{"lunch noon tomorrow", "lunch", "Nov 21 12:00PM"},
		{"Area 51 raid Sept 20, 2027 3am", "Area 51 raid", "Sep 20 03:00AM"},
		{"top 5 games friday 9pm", "top 5 games", "Nov 20 09:00PM"},
		{"games sat 9pm", "games", "Nov 21 09:00PM"},
		{"games next friday 9pm", "games", "Nov 27 09:00PM"},
		{"Apollo 13 8pm", "Apollo 13", "Nov 20 08:00PM"},
		{"new year January 1st", "new year", "Jan 01 12:00AM"},
		{"new year the 1st of January 00:30", "new year", "Jan 01 12:30AM"},
		{"call 2026-12-24 18:00", "call", "Dec 24 06:00PM"},
		{"call 2026-12-24T18:00Z", "call", "Dec 24 06:00PM"},
		{"call 12/24 6pm", "call", "Dec 24 06:00PM"},
		{"call 12/24/2027 at 6pm EST", "call", "Dec 24 06:00PM"},
		{"Saturday Night Saturday, January 2nd 2027 at 8:30 pm UTC", "Saturday Night", "Jan 02 08:30PM"},
		{"sync in 2 hours", "sync", "Nov 20 05:04PM"},
		{"sync in a week", "sync", "Nov 27 03:04PM"},
		{"party tonight", "party", "Nov 20 08:00PM"},
		{"party tonight 11pm", "party", "Nov 20 11:00PM"},
		{"it may rain 8pm", "it may rain", "Nov 20 08:00PM"},
		{"leap 2/29/2028 1pm", "leap", "Feb 29 01:00PM"},
		{"leap 2/29/28", "leap", "Feb 29 12:00AM"},
		{"no leap 2/28", "no leap", "Feb 28 12:00AM"},
		{"leap Feb 29 2028 1pm", "leap", "Feb 29 01:00PM"},
	} {
		title, at, ok := scheduleParts(tc.args, fixedNow())
		if got := at.Format("Jan 02 03:04PM"); !ok || title != tc.title || got != tc.time {
			t.Errorf("%q: title %q, time %q, %v; want %q, %q", tc.args, title, got, ok, tc.title, tc.time)
		}
	}
	for _, bad := range []string{
		"a b", "a 25:00", "a 13pm", "a 0am", "a Feb 30", "a 2027-02-30", "a 8:5", "a 51", "a at", "a next",
		"a in 2 parsecs",
		"a in 99999 days", "a 13/40", "a 2/29", "a 2/29/2027", "a 2/30", "a 8pm 2/29", "a Feb 29", "a Jan",
		"a 8pm extra", "",
	} {
		if title, at, ok := scheduleParts(bad, fixedNow()); ok {
			t.Errorf("%q: title %q, time %v", bad, title, at)
		}
	}
}

func TestGuildsAreSeparate(t *testing.T) {
	b := testBot(Config{})
	one, two := newChat(t, b), newChat(t, b)
	two.guild = 7
	one.say("!set x::one")
	two.expect("x", "")
	one.expect("x", "one")
}

func TestBounds(t *testing.T) {
	now := fixedNow()
	b := New(Config{MaxGuilds: 3, MaxResponses: 5, MaxEvents: 2, MaxIdle: time.Hour, Now: func() time.Time {
		return now
	}})
	c := newChat(t, b)
	for i := range 5 {
		c.say(fmt.Sprintf("!set w%d::r", i))
	}
	if got := c.say("!set w5::r"); !strings.HasPrefix(got, "❌ looks like you've already used all") {
		t.Errorf("a sixth response: %q", got)
	}
	ids := make([]int64, 3)
	for i := range ids {
		ids[i] = c.send("!poll t, a")[0].MessageID
	}
	for i, id := range ids {
		if got := c.do(Request{Action: ActionReactionAdded, MessageID: id, Emoji: "0⃣"}); (len(got) == 0) != (i == 0) {
			t.Errorf("poll %d: %+v", i, got)
		}
	}
	for _, id := range []int64{1, 2, 3} { // pushes the first one out
		other := newChat(t, b)
		other.guild = id
		other.say("!set x::y")
	}
	c.expect("w0", "")
	if b.recent.Len() != 3 || len(b.guilds) != 3 {
		t.Errorf("%d guilds are remembered", b.recent.Len())
	}
	now = now.Add(61 * time.Minute)
	c.expect("w0", "")
	if b.recent.Len() != 1 {
		t.Errorf("%d guilds outlived their age", b.recent.Len())
	}
}

func TestMemoryIsBounded(t *testing.T) {
	b := New(Config{MaxBytes: 1 << 20, StepsPerSecond: 1 << 30})
	long := strings.Repeat("[a,b]", 1500)
	for i := range 200 {
		c := newChat(t, b)
		c.guild = int64(i)
		c.say("!set x::" + long)
		if b.bytes > 1<<20 {
			t.Fatalf("%d bytes after %d guilds", b.bytes, i)
		}
	}
	sum := 0
	for e := b.recent.Front(); e != nil; e = e.Next() {
		sum += e.Value.(*guild).accounted
	}
	if sum != b.bytes || b.recent.Len() < 2 {
		t.Errorf("%d guilds of %d bytes, accounted %d", b.recent.Len(), sum, b.bytes)
	}
}

func TestDecode(t *testing.T) {
	b := testBot(Config{})
	good := `{"action":3001,"guild_id":4211,"message_id":2,"content":"!set hi::hey","allowed_commands":["set","remove"],"silent":false,"_id":3}`
	out, err := b.InterpretJSON(t.Context(), []byte(good))
	if err != nil {
		t.Fatal(err)
	}
	var got map[string]any
	if err := json.Unmarshal(out, &got); err != nil {
		t.Fatal(err)
	}
	action := got["actions"].([]any)[0].(map[string]any)
	if got["guild_id"] != 4211.0 || action["action"] != 3001.0 ||
		action["content"] != "✅ `hi::hey` _successfully set_" || len(action) != 3 {
		t.Errorf("%s", out)
	}
	out, err = b.InterpretJSON(t.Context(),
		[]byte(`{"action":3001,"guild_id":"4211","message_id":"4","content":"nothing"}`))
	if err != nil || string(out) != `{"guild_id":4211,"actions":[]}` {
		t.Errorf("%s, %v", out, err)
	}
	for _, bad := range []struct {
		payload, word string
		code          int
	}{
		{``, "payload_not_an_object", 400},
		{`[]`, "payload_not_an_object", 400},
		{`"x"`, "payload_not_an_object", 400},
		{`{`, "payload_malformed", 400},
		{`{}`, "guild_id_missing", 400},
		{`{"guild_id":1}`, "message_id_missing", 400},
		{`{"guild_id":1,"message_id":2}`, "action_missing", 400},
		{`{"guild_id":1,"message_id":2,"action":3001}`, "content_missing", 400},
		{`{"guild_id":1,"message_id":2,"action":3001,"content":null}`, "content_missing", 400},
		{`{"guild_id":1,"message_id":2,"action":3001,"content":5}`, "payload_malformed", 400},
		{`{"guild_id":1,"message_id":2,"action":72}`, "unknown_action", 400},
		{`{"guild_id":1,"message_id":2,"action":3100}`, "emoji_missing", 400},
		{
			`{"guild_id":1,"message_id":2,"action":3100,"emoji":"` + strings.Repeat("x", 129) + `"}`, "emoji_too_long",
			400,
		},
		{`{"guild_id":10000000,"message_id":2,"action":3001,"content":"x"}`, "guild_id_out_of_range", 400},
		{`{"guild_id":-1,"message_id":2,"action":3001,"content":"x"}`, "guild_id_out_of_range", 400},
		{`{"guild_id":1.5,"message_id":2,"action":3001,"content":"x"}`, "payload_malformed", 400},
		{`{"guild_id":1,"message_id":9007199254740992,"action":3001,"content":"x"}`, "payload_malformed", 400},
		{
			`{"guild_id":1,"message_id":2,"action":3001,"content":"x","allowed_commands":"set"}`, "payload_malformed",
			400,
		},
		{
			`{"guild_id":1,"message_id":2,"action":3001,"content":"` + strings.Repeat("x", MaxContentBytes+1) + `"}`,
			"content_too_large", 413,
		},
		{
			`{"guild_id":1,"message_id":2,"action":3001,"content":"` + strings.Repeat("x", 1<<20) + `"}`,
			"payload_too_large", 413,
		},
	} {
		_, err := b.InterpretJSON(t.Context(), []byte(bad.payload))
		e, ok := errors.AsType[*Error](err)
		if !ok || e.Word() != bad.word || e.Code() != bad.code || e.Human == "" {
			t.Errorf("%.80s: %v", bad.payload, err)
		}
	}
	if out, err := b.InterpretJSON(t.Context(),
		[]byte(`{"guild_id":1,"message_id":2,"action":3001,"content":"x","allowed_commands":null}`)); err != nil {
		t.Errorf("null for an optional list: %s, %v", out, err)
	}
}

func TestCancelled(t *testing.T) {
	b := testBot(Config{})
	c := newChat(t, b)
	c.say("!set x::y")
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err := b.Interpret(ctx, Request{Action: ActionMessageSent, GuildID: c.guild, Content: "x"})
	if !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
}

func TestConcurrentUse(t *testing.T) {
	b := New(Config{MaxGuilds: 4, MaxBytes: 16 << 10})
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			rng := rand.New(rand.NewPCG(uint64(i), 1))
			for range 300 {
				contents := []string{"!set a::[count]", "a", "!remove a", "!poll t, a", "!help"}
				_, err := b.Interpret(t.Context(), Request{
					Action: ActionMessageSent, GuildID: rng.Int64N(6), MessageID: 2,
					Content: contents[rng.IntN(len(contents))], AllowedCommands: []string{"set", "remove", "poll"},
				})
				if err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	if b.recent.Len() > 4 || b.bytes > 16<<10 || b.bytes < 0 {
		t.Errorf("%d guilds, %d bytes", b.recent.Len(), b.bytes)
	}
}

func TestDescribe(t *testing.T) {
	d, err := Describe("hey you!", "hi [author], [a,[b]] [:x:]")
	if err != nil || d.Mode != ModePunctuated || d.Regex != "hey you!" || len(d.Punctuation) != 1 {
		t.Errorf("%+v, %v", d, err)
	}
	var b strings.Builder
	for _, token := range d.Tokens {
		b.WriteString(token[1])
	}
	if b.String() != "hi [author], [a,[b]] [:x:]" {
		t.Errorf("tokens %q", d.Tokens)
	}
	if _, err := Describe("^($", "x"); err == nil {
		t.Error("a bad trigger was described")
	}
	if _, err := Describe("x", "]"); err == nil {
		t.Error("a bad response was described")
	}
}
