package mockbot

import (
	"fmt"
	"strings"
	"time"
	"unicode/utf8"
)

const (
	maxOptions    = 10
	maxTitleChars = 1000 // of a title or an option; what is longer is cut
)

// event is a message of the bot's on which the user votes by reacting: a poll or a schedule. There is one user, so that
// a vote is a flag.
type event struct {
	messageID int64
	exclusive bool // a vote takes back the other one
	emojis    []string
	votes     []bool
	text      func(e *event, voter string) string
	size      int // bytes, about

	// What it is about.
	title   string
	options []string  // of a poll
	at      time.Time // of a schedule
}

// answers are the keycaps of a poll's options.
func answers(n int) []string {
	list := make([]string, n)
	for i := range list {
		list[i] = fmt.Sprintf("%d\u20e3", i)
	}
	return list
}

func (t *turn) poll(args string)  { t.startPoll(args, false) }
func (t *turn) xpoll(args string) { t.startPoll(args, true) }

func (t *turn) startPoll(args string, exclusive bool) {
	title, options := pollParts(args)
	if len(options) < 1 {
		t.say("Please specify at least 1 option")
		return
	}
	t.start(&event{
		exclusive: exclusive, title: title, options: options, emojis: answers(len(options)), text: (*event).pollText,
	})
}

// pollParts splits `title, a, b` or `"title, with commas" a, b`. Options beyond maxOptions are left out.
func pollParts(args string) (title string, options []string) {
	title, rest, _ := strings.Cut(args, ",")
	if quoted, ok := strings.CutPrefix(args, `"`); ok {
		if q, after, ok := strings.Cut(quoted, `"`); ok {
			title, rest = q, strings.TrimPrefix(strings.TrimSpace(after), ",")
		}
	}
	for option := range strings.SplitSeq(rest, ",") {
		if len(options) == maxOptions {
			break
		}
		if option = strings.TrimSpace(option); option != "" {
			options = append(options, cut(option))
		}
	}
	return cut(strings.TrimSpace(title)), options
}

// cut shortens s to maxTitleChars and puts it on one line.
func cut(s string) string {
	s = strings.Join(strings.Fields(s), " ")
	if utf8.RuneCountInString(s) <= maxTitleChars {
		return s
	}
	return string([]rune(s)[:maxTitleChars]) + "…"
}

func (t *turn) schedule(args string) {
	title, at, ok := scheduleParts(args, t.cfg.Now().In(t.cfg.Location))
	if !ok {
		t.say("❌ use the syntax: `schedule <title> <time>`")
		return
	}
	t.start(&event{
		exclusive: true, title: cut(title), at: at, emojis: []string{"✅", "❌", "🤷"}, text: (*event).scheduleText,
	})
}

// scheduleParts moves leading words into the title until the rest is a time.
func scheduleParts(args string, now time.Time) (title string, at time.Time, ok bool) {
	words := strings.Fields(args)
	// A time has few words: the rest of a long title is not tried.
	for i := max(1, len(words)-maxTimeWords); i < len(words); i++ {
		if at, ok := parseTime(words[i:], now); ok {
			return strings.Join(words[:i], " "), at, true
		}
	}
	return "", time.Time{}, false
}

// start sends the event's message and its reactions, and remembers it unless nobody is to see it.
func (t *turn) start(e *event) {
	e.votes = make([]bool, len(e.emojis))
	e.size = 512 + len(e.title)
	for _, o := range e.options {
		e.size += 16 + len(o)
	}
	if !t.spend(byteSteps * e.size) {
		return
	}
	e.messageID = t.say(e.text(e, t.cfg.AuthorName))
	for _, emoji := range e.emojis {
		t.react(e.messageID, emoji)
	}
	if !t.req.Silent {
		t.guild.addEvent(e, t.cfg.MaxEvents)
	}
}

// reaction counts a vote, or takes it back. Other reactions, and those on other messages, mean nothing to the bot. The
// edit comes before what it takes back.
func (t *turn) reaction(added bool) {
	e := t.guild.event(t.req.MessageID)
	if e == nil {
		return
	}
	choice := -1
	for i, emoji := range e.emojis {
		if plainEmoji(emoji) == plainEmoji(t.req.Emoji) {
			choice = i
		}
	}
	if choice < 0 || e.votes[choice] == added {
		return
	}
	if !t.spend(byteSteps * e.size) {
		return
	}
	var takenBack []string
	for i := range e.votes {
		if added && e.exclusive && e.votes[i] {
			e.votes[i] = false
			takenBack = append(takenBack, e.emojis[i])
		}
	}
	e.votes[choice] = added
	t.edit(e.messageID, e.text(e, t.cfg.AuthorName))
	for _, emoji := range takenBack {
		t.takeBack(e.messageID, emoji)
	}
}

// tally is an option's count and its voters.
func (e *event) tally(i int, voter string) (int, string) {
	if e.votes[i] {
		return 1, voter
	}
	return 0, ""
}

func (e *event) pollText(voter string) string {
	lines := []string{"**__" + e.title + "__**"}
	for i, option := range e.options {
		count, names := e.tally(i, voter)
		lines = append(lines, fmt.Sprintf("%s **%s (%d)**: %s", e.emojis[i], option, count, names))
	}
	return strings.Join(lines, "\n")
}

func (e *event) scheduleText(voter string) string {
	lines := []string{"**__" + e.title + "__**", "**Time:** " + e.at.Format("Jan 02 03:04PM")}
	for i, label := range []string{":white_check_mark: Yes", ":x: No", ":shrug: Maybe"} {
		count, names := e.tally(i, voter)
		lines = append(lines, fmt.Sprintf("%s (%d): %s", label, count, names))
	}
	return strings.Join(lines, "\n")
}
