package mockbot

import (
	"errors"
	"fmt"
	"regexp"
	"regexp/syntax"
	"strings"
	"unicode/utf8"
)

// Modes of a trigger.
const (
	ModeRegex      = "regex"
	ModePunctuated = "punctuated"
	ModeNaive      = "naive"
)

const (
	punctuation = "!\"#$%&'()*+,-./:;<=>?@[\\]^_`{|}~"

	maxTriggerChars = 500
	// maxTriggerCost bounds a regular expression, in instructions (a class of
	// characters counts one more for every 32 ranges). Matching takes time
	// in proportion to it and to the message.
	maxTriggerCost = 250
	// maxGuildCost bounds all of a guild's together.
	maxGuildCost = 2500
	// maxCompileSteps bounds what it takes to compile one.
	maxCompileSteps = 400_000
	// maxCaptures bounds the groups of one expression: each adds to the work of
	// every step.
	maxCaptures = 20
	// maxMatchedChars is the longest message that triggers are tried on, as
	// long as a Discord message can be.
	maxMatchedChars = 2000
)

// trigger says which messages an auto response answers.
type trigger struct {
	text    string // as it was written
	mode    string
	pattern string // what equal triggers have in common
	strip   string // ASCII punctuation that is dropped from a message first
	re      *regexp.Regexp
	cost    int
}

// parseTrigger returns the trigger that a text stands for. Its errors are reasons to show to the author.
func parseTrigger(text string) (*trigger, error) {
	if utf8.RuneCountInString(text) > maxTriggerChars {
		return nil, fmt.Errorf("longer than %d characters", maxTriggerChars)
	}
	t := &trigger{text: text, cost: 1}
	if isExpression(text) {
		t.mode = ModeRegex
		return t, t.compile(text[1 : len(text)-1])
	}
	t.mode, t.strip = ModeNaive, punctuation
	if strings.ContainsAny(text, punctuation) {
		t.mode = ModePunctuated
		t.strip = without(punctuation, text)
	}
	t.pattern = strings.ToLower(text)
	return t, nil
}

func isExpression(text string) bool {
	return len(text) >= 2 && text[0] == '^' && text[len(text)-1] == '$'
}

// parseSteps is what parseTrigger takes at most.
func parseSteps(text string) int {
	if !isExpression(text) || utf8.RuneCountInString(text) > maxTriggerChars {
		return byteSteps * len(text)
	}
	if n := compileSteps(text); n <= maxCompileSteps {
		return n
	}
	return byteSteps * len(text) // it is refused
}

// compile compiles the regular expression after weighing it: RE2 syntax keeps matching linear, but repetitions can
// still make a program of megabytes.
func (t *trigger) compile(inner string) error {
	const flags = syntax.Perl | syntax.FoldCase
	if compileSteps(t.text) > maxCompileSteps {
		return errors.New("expression too large")
	}
	parsed, err := syntax.Parse(inner, flags)
	if err != nil {
		if e, ok := errors.AsType[*syntax.Error](err); ok {
			return errors.New(e.Code.String())
		}
		return err
	}
	t.cost = weigh(parsed)
	if t.cost > maxTriggerCost {
		return errors.New("expression too large")
	}
	if parsed.MaxCap() > maxCaptures {
		return fmt.Errorf("more than %d groups", maxCaptures)
	}
	re, err := regexp.Compile(`(?i)\A(?:` + closeQuotation(inner) + `)\z`)
	if err != nil {
		return errors.New("not a regular expression")
	}
	t.re, t.pattern = re, strings.ToLower(inner)
	return nil
}

// closeQuotation ends the `\Q` that a valid expression leaves open, which would quote what is put behind it. The text of
// the parsed expression has none, but takes a second to make of 250 times `\W`.
func closeQuotation(valid string) string {
	for rest := valid; ; {
		i := strings.IndexByte(rest, '\\')
		if i < 0 {
			return valid
		}
		quotes := rest[i+1] == 'Q'
		rest = rest[i+2:]
		if !quotes {
			continue
		}
		_, after, closed := strings.Cut(rest, `\E`)
		if !closed {
			return valid + `\E`
		}
		rest = after
	}
}

// weigh estimates how many instructions an expression compiles to, and stops
// counting a little above the bound.
func weigh(re *syntax.Regexp) int {
	n := 1
	switch re.Op {
	case syntax.OpLiteral:
		n = len(re.Rune)
	case syntax.OpCharClass:
		n = 1 + len(re.Rune)/64
	}
	for _, sub := range re.Sub {
		n = min(n+weigh(sub), 2*maxTriggerCost)
	}
	if re.Op == syntax.OpRepeat {
		n = min(n*max(re.Min, re.Max, 1), 2*maxTriggerCost)
	}
	return n
}

// match reports whether the message is one for this trigger.
func (t *trigger) match(message string) bool {
	if t.re == nil {
		return strings.EqualFold(without(message, t.strip), t.text)
	}
	return t.re.MatchString(message) // in half of the time that captures take
}

// captures returns the groups of a message that matches, without newlines.
func (t *trigger) captures(message string) []string {
	if t.re == nil || t.re.NumSubexp() == 0 {
		return nil
	}
	groups := t.re.FindStringSubmatch(message)[1:]
	for i, text := range groups {
		groups[i] = without(text, "\r\n")
	}
	return groups
}

// collides reports whether two triggers may answer the same message: their
// patterns are equal, or one matches the other's text.
func (t *trigger) collides(u *trigger) bool {
	if t.pattern == u.pattern {
		return true
	}
	return t.matchesText(u) || u.matchesText(t)
}

// matchesText: a regular expression has no literal text to be matched.
func (t *trigger) matchesText(u *trigger) bool {
	if u.re != nil {
		return false
	}
	return t.match(u.text)
}

// punctuationOf lists the trigger's ASCII punctuation, each once.
func (t *trigger) punctuationOf() []string {
	marks := []string{}
	if t.mode == ModePunctuated {
		for _, c := range punctuation {
			if strings.ContainsRune(t.text, c) {
				marks = append(marks, string(c))
			}
		}
	}
	return marks
}

// without drops from s every character that is in marks.
func without(s, marks string) string {
	if !strings.ContainsAny(s, marks) {
		return s
	}
	return strings.Map(func(r rune) rune {
		if strings.ContainsRune(marks, r) {
			return -1
		}
		return r
	}, s)
}
