package mockbot

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"
)

// costly is an expression that takes 182 steps a character.
const costly = "^(?:a*){60}x$"

func newChatIn(t *testing.T, b *Bot, guild int64) *chat { return &chat{t: t, bot: b, guild: guild} }

func refusal(err error) string {
	if e, ok := errors.AsType[*Error](err); ok && e.Code() == 429 {
		return e.Word()
	}
	return fmt.Sprint(err)
}

// A flood of costly messages took all of the processor: 22 ms each, and nothing bounded how many.
func TestFloodOfCostlyGuilds(t *testing.T) {
	now := fixedNow()
	const steps = 1_000_000 // a second
	b := New(Config{StepsPerSecond: steps, Now: func() time.Time { return now }})
	send := func(guild int64, content string) error {
		_, err := b.Interpret(t.Context(), Request{
			Action: ActionMessageSent, GuildID: guild, Content: content, AllowedCommands: []string{"set"},
		})
		return err
	}
	const guilds = 40 // and one with a cheap trigger
	for g := range int64(guilds) {
		now = now.Add(time.Second)
		newChatIn(t, b, g).expect("!set "+costly+"::hi", "✅ `"+costly+"::hi` _successfully set_")
	}
	newChatIn(t, b, guilds).expect("!set hello there::hi", "✅ `hello there::hi` _successfully set_")
	before := b.budget.left
	served := 0
	const seconds, perSecond = 10, 50
	for range seconds * perSecond {
		now = now.Add(time.Second / perSecond)
		for g := range int64(guilds) {
			switch err := send(g, strings.Repeat("a", 200)); {
			case err == nil:
				served++
			case refusal(err) != "too_many_requests":
				t.Fatal(err)
			}
		}
		if err := send(guilds, "Hello there!"); err != nil {
			t.Fatalf("a cheap message: %v", err)
		}
	}
	// Each takes over 36,000 steps.
	if most := (before + seconds*steps) / 36_000; served > most || served < most/4 {
		t.Errorf("%d are served, at most %d fit", served, most)
	}
}

func TestMessageThatIsTooCostly(t *testing.T) {
	c := newChat(t, testBot(Config{}))
	for i := range 3 {
		if got := c.say(fmt.Sprintf("!set ^(?:a*){%d}x$::y", 60+i)); !strings.HasPrefix(got, "✅") {
			t.Fatal(got)
		}
	}
	before := c.bot.budget.left
	_, err := c.bot.Interpret(t.Context(),
		Request{Action: ActionMessageSent, GuildID: c.guild, Content: strings.Repeat("a", 2000)})
	if refusal(err) != "message_too_costly" || before-c.bot.budget.left != messageSteps {
		t.Errorf("%v, for %d steps", err, before-c.bot.budget.left)
	}
	c.expect("aaax", "y")
}

// What can't be paid changes nothing.
func TestRefusedMessagesChangeNothing(t *testing.T) {
	long := strings.Repeat("a", 300)
	list := strings.Repeat("[", 30) + strings.Repeat("y", 1500) + strings.Repeat("]", 30)
	for name, tt := range map[string]struct {
		before, message string
		after, want     string // what is said then, and how the answer begins
	}{
		"compile": {"!set y::z", "!set ^" + long + "$::y", long, ""},
		"collide": {"!set " + long + "::y", "!set ^(?:a?){60}$::z", "aaa", ""},
		"respond": {"!set x::[count]" + list, "x", "!remove x", "✅"},
		"poll": {"!poll " + strings.Repeat("t", 900) + strings.Repeat(","+strings.Repeat("o", 900), 10), "",
			"!help poll", "```"},
	} {
		t.Run(name, func(t *testing.T) {
			b := testBot(Config{})
			c := newChat(t, b)
			request := Request{
				Action: ActionMessageSent, GuildID: c.guild, Content: tt.message,
				AllowedCommands: []string{"set", "poll"},
			}
			sent := c.send(tt.before)
			if name == "poll" {
				request = Request{
					Action: ActionReactionAdded, GuildID: c.guild, MessageID: sent[0].MessageID, Emoji: sent[1].Emoji,
				}
			}
			b.budget = newBudget(160_000) // of which a message may take 8,000
			if _, err := b.Interpret(t.Context(), request); refusal(err) != "message_too_costly" {
				t.Errorf("got %v", err)
			}
			if name == "poll" {
				e := b.guilds[c.guild].Value.(*guild).events[0]
				if e.votes[0] {
					t.Error("the vote counts")
				}
			}
			if got := c.say(tt.after); !strings.HasPrefix(got, tt.want) || tt.want == "" && got != "" {
				t.Errorf("then %q", got)
			}
		})
	}
}

// A capture of newlines, which are dropped, was dropped as often as the response names it: 50 ms.
func TestCaptureOfNewlines(t *testing.T) {
	c := newChat(t, testBot(Config{}))
	c.say("!set ^(?s)(.*)(b)$::[0][1][0]")
	c.expect("a\r\na\nb", "aabaa")
}

// Reactions to one message are bounded, whichever responses they are of.
func TestReactionsOfManyResponses(t *testing.T) {
	c := newChat(t, testBot(Config{}))
	for i := range 5 {
		response := ""
		for j := range 10 {
			response += fmt.Sprintf("[:r%d:]", 10*i+j)
		}
		c.say(fmt.Sprintf("!set ^(?:x|%d)$::%s", i, response))
	}
	if got := c.send("x"); len(got) != maxReactions {
		t.Errorf("%d reactions", len(got))
	}
}
