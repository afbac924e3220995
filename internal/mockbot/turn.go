package mockbot

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"unicode/utf8"
)

// prefix begins a command.
const prefix = "!"

// turn is the interpretation of one request. What costs more than the request's own length is paid before it is done,
// and before anything is changed.
type turn struct {
	cfg   *Config
	guild *guild
	req   *Request
	*meter

	actions   []Action
	reactions int // among the actions, the bot's own
}

// command is something that a message can ask for by name.
type command struct {
	name string
	help string
	run  func(t *turn, args string)
}

// commands are those that a request may allow. help is always allowed.
func commands() []command {
	return []command{
		{"set", "set <trigger>::<response>\nSets an auto response.", (*turn).set},
		{"remove", "remove <trigger>::<response>\nRemoves an auto response.", (*turn).remove},
		{"schedule", "schedule <title> <event>\nStarts an event poll.", (*turn).schedule},
		{"poll", "poll title, option1, option2, ..., option10\nStarts a poll with up to 10 options", (*turn).poll},
		{
			"xpoll", "xpoll title, option1, option2, ..., option10\nStarts an exclusive poll with up to 10 options",
			(*turn).xpoll,
		},
	}
}

func (t *turn) run(ctx context.Context) error {
	switch t.req.Action {
	case ActionMessageSent:
		if err := t.message(ctx); err != nil {
			return err
		}
	case ActionReactionAdded:
		t.reaction(true)
	case ActionReactionRemoved:
		t.reaction(false)
	}
	return t.refused
}

// message runs the command that the message is, or answers it.
func (t *turn) message(ctx context.Context) error {
	content := strings.TrimLeft(t.req.Content, " \t\r\n")
	if after, ok := strings.CutPrefix(content, prefix); ok {
		name, args := cutWord(after)
		if strings.EqualFold(name, "help") {
			t.help(args)
			return nil
		}
		for _, c := range t.allowed() {
			if strings.EqualFold(name, c.name) {
				c.run(t, args)
				return nil
			}
		}
	}
	return t.respond(ctx)
}

// allowed returns the commands that the request allows.
func (t *turn) allowed() []command {
	return slices.DeleteFunc(commands(), func(c command) bool {
		return !slices.Contains(t.req.AllowedCommands, c.name)
	})
}

// cutWord splits at the first white space, and trims what follows.
func cutWord(s string) (word, rest string) {
	i := strings.IndexAny(s, " \t\r\n")
	if i < 0 {
		return s, ""
	}
	return s[:i], strings.TrimSpace(s[i:])
}

// help explains all allowed commands, or one of them.
func (t *turn) help(args string) {
	var b strings.Builder
	one, _ := cutWord(args)
	allowed := t.allowed()
	if len(allowed) == 0 {
		t.say("❌ there are no commands here")
		return
	}
	for _, c := range allowed {
		switch {
		case one == "":
			b.WriteString("```" + c.name + ": " + c.help + "```\n")
		case strings.EqualFold(one, c.name):
			b.WriteString("```" + c.name + " - " + c.help + "```")
		}
	}
	if b.Len() == 0 {
		b.WriteString("❌ idk that command")
	}
	t.say(strings.TrimSuffix(b.String(), "\n"))
}

// respond tries the auto responses, in the order in which they were set. The first that has something to say is the
// last one tried.
func (t *turn) respond(ctx context.Context) error {
	runes := utf8.RuneCountInString(t.req.Content)
	// A guild of which not all triggers can be paid for costs nothing.
	if runes > maxMatchedChars || !t.affords(t.guild.matchSteps(runes)) {
		return nil
	}
	for _, r := range t.guild.responses {
		if err := ctx.Err(); err != nil {
			return err
		}
		if !t.spend(r.trigger.matchSteps(runes)) {
			return nil
		}
		if !r.trigger.match(t.req.Content) {
			continue
		}
		said, err := t.answer(r, runes)
		if said || err != nil || t.refused != nil {
			return err
		}
	}
	return nil
}

// answer sends the auto response to a message of so many characters, which its trigger has matched.
func (t *turn) answer(r *autoResponse, runes int) (said bool, err error) {
	if !t.spend(r.trigger.captureSteps(runes) + responseSteps*len(r.response) + byteSteps*maxRenderedChars) {
		return false, nil
	}
	r.count++
	nodes, err := parseResponse(r.response)
	if err != nil {
		return false, fmt.Errorf("parse a stored response: %w", err)
	}
	out := renderer{cfg: t.cfg, captures: r.trigger.captures(t.req.Content), count: r.count}
	out.render(nodes)
	if said = strings.TrimSpace(out.content()) != ""; said {
		t.say(out.content())
	}
	for _, emoji := range out.reactions {
		t.react(t.req.MessageID, emoji)
	}
	return said, nil
}

// say sends a message of the bot's, unless there is nothing to say, and returns its id.
func (t *turn) say(content string) int64 {
	if content == "" {
		return 0
	}
	id := t.messageID()
	t.actions = append(t.actions, Action{Action: ActionMessageSent, MessageID: id, Content: content})
	return id
}

// messageID returns an odd id that neither a live event nor the client uses.
func (t *turn) messageID() int64 {
	for {
		id := int64(t.cfg.IntN(1<<23))<<1 | 1
		if id != t.req.MessageID && t.guild.event(id) == nil {
			return id
		}
	}
}

func (t *turn) edit(id int64, content string) {
	t.actions = append(t.actions, Action{Action: ActionMessageEdited, MessageID: id, Content: content})
}

// react adds a reaction of the bot's; a second one of the same has no effect, nor has one too many. A turn's reactions
// are all to one message.
func (t *turn) react(id int64, emoji string) {
	a := Action{Action: ActionReactionAdded, MessageID: id, Emoji: emoji}
	if t.reactions < maxReactions && !slices.Contains(t.actions, a) {
		t.reactions++
		t.actions = append(t.actions, a)
	}
}

// takeBack removes a reaction of the user's.
func (t *turn) takeBack(id int64, emoji string) {
	t.actions = append(t.actions, Action{Action: ActionReactionRemoved, MessageID: id, Emoji: emoji, TargetsUser: true})
}
