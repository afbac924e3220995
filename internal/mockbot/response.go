package mockbot

import (
	"strconv"
	"strings"
	"unicode/utf8"
)

const (
	maxResponseChars = 8000 // as it is written
	maxRenderedChars = 2000 // as it is sent: Discord's limit
	maxReactions     = 20   // on one message: Discord's limit
	overLimit        = "*content of response was over character limit (500)*"
)

// autoResponse answers messages that match its trigger. What was parsed is not kept: it can take a hundred times the
// memory of what was written.
type autoResponse struct {
	trigger  *trigger
	response string // as it was written; it parses
	count    int    // how often it was used
	size     int    // bytes, about
}

func newAutoResponse(t *trigger, response string) (*autoResponse, error) {
	if _, err := parseResponse(response); err != nil {
		return nil, err
	}
	// Cloned, since they would keep the whole message alive.
	t.text, response = strings.Clone(t.text), strings.Clone(response)
	r := &autoResponse{trigger: t, response: response}
	// An instruction of an expression comes with its share of tables.
	r.size = 256 + 3*len(t.text) + len(response) + 200*t.cost
	return r, nil
}

// String returns how the bot names an auto response.
func (r *autoResponse) String() string { return r.trigger.text + "::" + r.response }

// renderer turns nodes into text and reactions, for one message.
type renderer struct {
	cfg       *Config
	captures  []string
	count     int
	text      strings.Builder
	chars     int
	reactions []string
}

// over reports whether the text has become too long; rendering then stops.
func (r *renderer) over() bool { return r.chars > maxRenderedChars }

func (r *renderer) content() string {
	if r.over() {
		return overLimit
	}
	return r.text.String()
}

func (r *renderer) render(seq []node) {
	for i := range seq {
		if r.over() {
			return
		}
		r.node(&seq[i])
	}
}

func (r *renderer) node(n *node) {
	switch n.kind {
	case nodeText:
		r.write(n.text)
	case nodeList:
		r.render(n.elements[r.cfg.IntN(len(n.elements))])
	case nodeReaction:
		if len(r.reactions) < maxReactions {
			r.reactions = append(r.reactions, n.text)
		}
	case nodeNoun:
		r.write(r.oneOf(nouns()))
	case nodeAdjective:
		r.write(r.oneOf(adjectives()))
	case nodeAdverb:
		r.write(r.oneOf(adverbs()))
	case nodeCount:
		r.write(strconv.Itoa(r.count))
	case nodeAuthor:
		r.write(r.cfg.AuthorName)
	case nodeMember:
		r.write(r.oneOf([]string{r.cfg.AuthorName, r.cfg.BotName}))
	case nodeCapture:
		i := n.capture
		if i == lastCapture {
			i = len(r.captures) - 1
		}
		if i >= 0 && i < len(r.captures) {
			r.write(r.captures[i])
		}
	}
}

// write adds text, which has no newlines.
func (r *renderer) write(s string) {
	r.chars += utf8.RuneCountInString(s)
	if !r.over() {
		r.text.WriteString(s)
	}
}

func (r *renderer) oneOf(list []string) string { return list[r.cfg.IntN(len(list))] }

// Description is what a dashboard shows of an auto response.
type Description struct {
	Mode        string
	Regex       string      // what a message is compared with
	Punctuation []string    // that a message keeps
	Tokens      [][2]string // of the response: [tag, text]
}

// Describe explains a trigger and its response. The error, if one does not parse, is the reason that the bot would
// show.
func Describe(trigger, response string) (Description, error) {
	t, err := parseTrigger(trigger)
	if err != nil {
		return Description{}, err
	}
	nodes, err := parseResponse(response)
	if err != nil {
		return Description{}, err
	}
	return Description{Mode: t.mode, Regex: t.pattern, Punctuation: t.punctuationOf(), Tokens: tokens(nodes)}, nil
}
