package demo

import "strings"

// newAutoResponse makes the entity that the bot would store for a trigger.
func newAutoResponse(guild, id, author, trigger, response string, count int) *AutoResponse {
	r := &AutoResponse{
		ID: id, Trigger: trigger, Response: response, AuthorID: &author, GuildID: guild,
		TriggerRegex: trigger, TriggerPunctuation: []string{}, ResponseTokens: [][2]string{{"plain", response}},
		Count: count, Mode: "naive",
	}
	const punctuation = "!\"#$%&'()*+,-./:;<=>?@[\\]^_`{|}~"
	switch {
	case strings.HasPrefix(trigger, "^") && strings.HasSuffix(trigger, "$"):
		r.Mode = "regex"
	case strings.ContainsAny(trigger, punctuation):
		r.Mode = "punctuated"
		for _, p := range punctuation {
			if strings.ContainsRune(trigger, p) {
				r.TriggerPunctuation = append(r.TriggerPunctuation, string(p))
			}
		}
	}
	return r
}
