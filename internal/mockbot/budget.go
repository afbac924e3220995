package mockbot

import (
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/architus/guildcast/internal/botwire"
)

// Interpretation is paid for in steps of about 20 ns of one core, in which one instruction of an expression is tried on
// one character. The most that work may cost is known before it is done, and work that can't be paid for is not done.
// See docs/decisions/0035-a-budget-of-steps.md.
const (
	messageSteps   = 300 // of any message
	byteSteps      = 1   // of a byte that is decoded, or sent
	responseSteps  = 15  // of a byte of a response that is parsed and rendered
	expressionRune = 100 // of a character of an expression that is compiled
	categorySteps  = 25_000
	foldSteps      = 3 // of a character in a range, each of which is looked up for its other cases

	// messageShare is the part of what is left that one message may take. So a flood of costly messages leaves a
	// multiple of what any cheap one needs.
	messageShare = 10
)

// budget holds the steps that all guilds together have left. It is full after half a second without messages.
type budget struct {
	perSecond int
	left      int
	at        time.Time // when left was right
}

func newBudget(perSecond int) budget { return budget{perSecond: perSecond, left: perSecond / 2} }

// allowance returns how many steps a message may take now, and how many any ever may.
func (b *budget) allowance(now time.Time) (steps, most int) {
	full := b.perSecond / 2
	if !b.at.IsZero() {
		if passed := now.Sub(b.at); passed >= time.Second {
			b.left = full
		} else if passed > 0 {
			b.left = min(b.left+int(passed.Seconds()*float64(b.perSecond)), full)
		}
	}
	b.at = now
	return b.left / messageShare, full / messageShare
}

// meter counts what one message takes of its allowance.
type meter struct {
	allowance, most int
	spent           int
	refused         error // of what could not be paid; nil: everything could
}

// spend reports whether the message can pay that many steps more, and takes them. If it can't, it is refused.
func (m *meter) spend(steps int) bool {
	if !m.affords(steps) {
		return false
	}
	m.spent += steps
	return true
}

// affords reports whether the message can pay that many steps more. If it can't, it is refused.
func (m *meter) affords(steps int) bool {
	switch {
	case m.refused != nil:
	case m.spent+steps > m.most:
		m.refused = refuse(botwire.WordMessageTooCostly, "this message is too much work for the bot")
	case m.spent+steps > m.allowance:
		m.refused = refuse(botwire.WordTooManyRequests, "the bot has too much to do")
	}
	return m.refused == nil
}

// matchSteps is what it takes at most to try the trigger on a message of so many characters.
func (t *trigger) matchSteps(runes int) int { return t.cost * (runes + 1) }

// matchSteps is what it takes at most to try all triggers.
func (g *guild) matchSteps(runes int) int {
	n := 0
	for _, r := range g.responses {
		n += r.trigger.matchSteps(runes)
	}
	return n
}

// captureSteps is what it takes at most to find the groups, each of which adds to every step.
func (t *trigger) captureSteps(runes int) int {
	if t.re == nil || t.re.NumSubexp() == 0 {
		return 0
	}
	return 3 * t.matchSteps(runes)
}

// compileSteps is what it takes at most to compile an expression. Two things take more than their length: categories
// such as \pL, which have hundreds of ranges, and ranges of many characters.
func compileSteps(expression string) int {
	n := expressionRune * utf8.RuneCountInString(expression)
	n += categorySteps * (strings.Count(expression, `\p`) + strings.Count(expression, `\P`))
	for i := range len(expression) - 1 {
		if expression[i] == '-' {
			low, _ := utf8.DecodeLastRuneInString(expression[:i]) // of an escape its last character, which is no higher
			n += foldSteps * max(int(min(rangeEnd(expression[i+1:]), maxFolded)-low), 0)
		}
	}
	return n
}

// maxFolded is the last character that has two cases.
const maxFolded = '\U0001E943'

// rangeEnd is the character that an expression's rest begins with, or a higher one.
func rangeEnd(rest string) rune {
	const maxShort = 0x1ff // of \777
	if hex, ok := strings.CutPrefix(rest, `\x{`); ok {
		hex, _, _ = strings.Cut(hex, "}")
		r, err := strconv.ParseUint(hex, 16, 21)
		if err != nil {
			return maxFolded
		}
		return rune(r)
	}
	r, _ := utf8.DecodeRuneInString(rest)
	return max(r, maxShort)
}

// collisionSteps is what it takes at most to look for collisions with t.
func (g *guild) collisionSteps(t *trigger) int {
	own := utf8.RuneCountInString(t.text)
	n := 0
	for _, r := range g.responses {
		n += r.trigger.matchSteps(own) + t.matchSteps(utf8.RuneCountInString(r.trigger.text))
	}
	return n
}
