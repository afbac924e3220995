package demo

import (
	"github.com/architus/guildcast/internal/mockbot"
)

// newAutoResponse returns the entity that the bot would store for a trigger. One that does not parse is shown as it is.
func newAutoResponse(guild, id, author, trigger, response string, count int) *AutoResponse {
	r := &AutoResponse{
		ID: id, Trigger: trigger, Response: response, AuthorID: &author, GuildID: guild,
		TriggerPunctuation: []string{}, ResponseTokens: [][2]string{}, Count: count,
	}
	if d, err := mockbot.Describe(trigger, response); err == nil {
		r.Mode, r.TriggerRegex, r.TriggerPunctuation, r.ResponseTokens = d.Mode, d.Regex, d.Punctuation, d.Tokens
	}
	return r
}
