package mockbot

import (
	"fmt"
	"slices"
	"strings"
	"unicode/utf8"
)

// maxShown is how many colliding auto responses are listed.
const maxShown = 4

// set adds an auto response.
func (t *turn) set(args string) {
	text, response, ok := strings.Cut(args, "::")
	text, response = strings.TrimSpace(text), strings.TrimSpace(response)
	if !ok || text == "" || response == "" {
		t.say("❌ use the syntax: `trigger::response`")
		return
	}
	if utf8.RuneCountInString(response) > maxResponseChars {
		t.say(fmt.Sprintf("❌ that response is too long :confused: max length is %d characters", maxResponseChars))
		return
	}
	if !t.spend(parseSteps(text) + (responseSteps+byteSteps)*len(response)) {
		return
	}
	trigger, err := parseTrigger(text)
	if err != nil {
		t.say(fmt.Sprintf("❌ unable to parse your trigger: `%v`", err))
		return
	}
	added, err := newAutoResponse(trigger, response)
	if err != nil {
		t.say(fmt.Sprintf("❌ unable to parse that response: `%v`", err))
		return
	}
	if !t.spend(t.guild.collisionSteps(trigger)) {
		return
	}
	if conflicts := t.guild.collisions(trigger); len(conflicts) > 0 {
		t.sayCollisions(conflicts)
		return
	}
	if len(t.guild.responses) >= t.cfg.MaxResponses || t.guild.cost()+trigger.cost > maxGuildCost {
		t.say(fmt.Sprintf("❌ looks like you've already used all your auto responses in this server (%d), try deleting some",
			len(t.guild.responses)))
		return
	}
	t.guild.responses = append(t.guild.responses, added)
	t.say(fmt.Sprintf("✅ `%v` _successfully set_", added))
}

func (g *guild) collisions(t *trigger) []*autoResponse {
	var list []*autoResponse
	for _, r := range g.responses {
		if r.trigger.collides(t) {
			list = append(list, r)
		}
	}
	return list
}

func (t *turn) sayCollisions(conflicts []*autoResponse) {
	var b strings.Builder
	b.WriteString("❌ sorry that trigger collides with the following auto responses:")
	for _, r := range conflicts[:min(len(conflicts), maxShown)] {
		fmt.Fprintf(&b, "\n`%v`", r)
	}
	if more := len(conflicts) - maxShown; more > 0 {
		fmt.Fprintf(&b, "\n_...%d more not shown_", more)
	}
	if t.spend(byteSteps * b.Len()) {
		t.say(b.String())
	}
}

// remove removes an auto response by its trigger as it was written. It ignores a response after the trigger.
func (t *turn) remove(args string) {
	text, _, _ := strings.Cut(args, "::")
	text = strings.TrimSpace(text)
	i := slices.IndexFunc(t.guild.responses, func(r *autoResponse) bool { return r.trigger.text == text })
	if i < 0 {
		t.say("❌ idk what response you want me to remove")
		return
	}
	removed := t.guild.responses[i]
	if !t.spend(byteSteps * removed.size) {
		return
	}
	t.guild.responses = slices.Delete(t.guild.responses, i, i+1)
	t.say(fmt.Sprintf("✅ `%v` _successfully removed_", removed))
}
