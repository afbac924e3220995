package search

import "unicode"

// ignorable reports whether a name looks the same without r: what has no width, what is not a character, and what is
// drawn around the character before.
func ignorable(r rune) bool {
	switch r {
	case unicode.ReplacementChar, '\u115F', '\u1160', '\u3164', '\uFFA0': // the last are fillers of Hangul
		return true
	}
	return r > unicode.MaxASCII && unicode.In(r, unicode.Cf, unicode.Me)
}

// firstStyled is where the extensions of the Latin alphabet begin, which have the first small capitals.
const firstStyled = '\u0250'

// styled are rows of letters and digits that Unicode does not decompose.
var styled = []struct {
	first, last rune
	as          rune // what the first stands for
}{
	{'⓵', '⓽', '1'}, {'⓿', '⓿', '0'}, {'❶', '❾', '1'}, {'➀', '➈', '1'}, {'➊', '➒', '1'},
	{'\U0001F10B', '\U0001F10B', '0'}, {'\U0001F10C', '\U0001F10C', '0'},
	{'🅐', '🅩', 'a'}, {'🅰', '🆉', 'a'}, {'🇦', '🇿', 'a'},
}

// spelled are letters and signs that Unicode does not decompose. There is no small capital X.
var spelled = map[rune]string{
	'ᴀ': "a", 'ʙ': "b", 'ᴄ': "c", 'ᴅ': "d", 'ᴇ': "e", 'ꜰ': "f", 'ɢ': "g", 'ʜ': "h", 'ɪ': "i", 'ᴊ': "j", 'ᴋ': "k",
	'ʟ': "l",
	'ᴍ': "m", 'ɴ': "n", 'ᴏ': "o", 'ᴘ': "p", 'ꞯ': "q", 'ʀ': "r", 'ꜱ': "s", 'ᴛ': "t", 'ᴜ': "u", 'ᴠ': "v", 'ᴡ': "w",
	'ʏ': "y",
	'ᴢ': "z", 'ᴁ': "ae", 'ɶ': "oe", 'ᴃ': "b", 'ᴆ': "d", 'ʛ': "g", 'ᴌ': "l", 'ᴎ': "n", 'ᴙ': "r", 'ᴚ': "r", 'ʁ': "r",
	'⓾': "10", '❿': "10", '➉': "10", '➓': "10",
	'🆊': "cross", '🆋': "ic", '🆌': "pa", '🆍': "sa", '🆎': "ab", '🆏': "wc", '🆑': "cl", '🆒': "cool", '🆓': "free", '🆔': "id",
	'🆕': "new", '🆖': "ng", '🆗': "ok", '🆘': "sos", '🆙': "up", '🆚': "vs",
}

// unstyled returns what r is a style of, which only a character beyond the alphabets is.
func unstyled(r rune) string {
	if s, ok := spelled[r]; ok {
		return s
	}
	for _, row := range styled {
		if row.first <= r && r <= row.last {
			return string(row.as + r - row.first)
		}
	}
	return string(r)
}
