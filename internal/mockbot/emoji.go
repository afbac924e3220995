package mockbot

import (
	"strings"
	"unicode"
)

const (
	textStyle      = '\uFE0E'
	emojiStyle     = '\uFE0F'
	keycap         = '\u20E3'
	zeroWidthJoin  = '\u200D'
	cancelTag      = '\U000E007F'
	maxEmojiJoined = 32 // code points; the longest family has 11
)

// pictographs are the blocks that emojis come from. They hold other signs too, which as reactions do no harm.
var pictographs = &unicode.RangeTable{
	R16: []unicode.Range16{
		{0x00a9, 0x00ae, 5}, {0x203c, 0x203c, 1}, {0x2049, 0x2049, 1}, {0x2122, 0x2122, 1}, {0x2139, 0x2139, 1},
		{0x2190, 0x21ff, 1}, {0x2300, 0x23ff, 1}, {0x2460, 0x24ff, 1}, {0x25a0, 0x27bf, 1}, {0x2900, 0x297f, 1},
		{0x2b00, 0x2bff, 1}, {0x3030, 0x303d, 13}, {0x3297, 0x3299, 2},
	},
	R32: []unicode.Range32{
		{0x1f000, 0x1f1e5, 1}, {0x1f200, 0x1f3fa, 1}, {0x1f400, 0x1faff, 1},
	},
	LatinOffset: 1,
}

// isEmoji reports whether s is one emoji: a pictograph with its modifiers, some of those joined, a flag, or a keycap.
// After Unicode TS 51, ED-17.
func isEmoji(s string) bool {
	if len(s) > maxSignBytes {
		return false
	}
	runes := []rune(s)
	if isKeycap(runes) {
		return true
	}
	if len(runes) == 2 && isRegional(runes[0]) && isRegional(runes[1]) {
		return true
	}
	for {
		if len(runes) == 0 || !unicode.Is(pictographs, runes[0]) {
			return false
		}
		runes = skipModifiers(runes[1:])
		if len(runes) == 0 {
			return true
		}
		if runes[0] != zeroWidthJoin {
			return false
		}
		runes = runes[1:]
	}
}

// skipModifiers skips styles, skin tones, keycaps and tags.
func skipModifiers(runes []rune) []rune {
	for len(runes) > 0 {
		r := runes[0]
		style := r == textStyle || r == emojiStyle || r == keycap
		tone := r >= 0x1f3fb && r <= 0x1f3ff
		tag := r >= 0xe0020 && r <= cancelTag
		if !style && !tone && !tag {
			break
		}
		runes = runes[1:]
	}
	return runes
}

func isRegional(r rune) bool { return r >= 0x1f1e6 && r <= 0x1f1ff }

func isKeycap(runes []rune) bool {
	if len(runes) == 3 && runes[1] == emojiStyle {
		runes = []rune{runes[0], runes[2]}
	}
	return len(runes) == 2 && runes[1] == keycap && strings.ContainsRune("0123456789#*", runes[0])
}

// plainEmoji is an emoji without its style, for comparing: clients differ in whether they send it.
func plainEmoji(s string) string {
	return strings.Map(func(r rune) rune {
		if r == textStyle || r == emojiStyle {
			return -1
		}
		return r
	}, s)
}
