package search

import (
	"encoding/binary"
	"strings"
	"unicode"
	"unicode/utf8"

	"golang.org/x/text/unicode/norm"
)

// fold brings a name or a query into the form in which they are compared: lower case, without accents, compatibility
// forms (full width, ligatures, styled letters) made plain, without what can't be seen, white space single, at most
// maxNameRunes long.
func fold(s string) string {
	if plain(s) {
		return s
	}
	// Decomposition makes a rune of at most 18; what is longer than this can't count.
	if len(s) > maxNameRunes*utf8.UTFMax*4 {
		s = s[:maxNameRunes*utf8.UTFMax*4]
	}
	// Neither invalid bytes nor what can't be seen counts. They go first: what follows such a byte is not decomposed,
	// and marks on both sides of what has no width are not brought into one order.
	s = strings.Map(func(r rune) rune {
		if ignorable(r) {
			return -1
		}
		return r
	}, s)
	var b strings.Builder
	runes, space := 0, false
	for _, r := range norm.NFKD.String(s) {
		if unicode.Is(unicode.Mn, r) {
			continue
		}
		if unicode.IsSpace(r) {
			space = b.Len() > 0
			continue
		}
		if space {
			b.WriteByte(' ')
			runes++
			space = false
		}
		l := letter(r)
		if runes += utf8.RuneCountInString(l); runes > maxNameRunes {
			break
		}
		b.WriteString(l)
	}
	return strings.TrimSuffix(b.String(), " ")
}

// plain reports that fold would change nothing: short ASCII without capitals.
func plain(s string) bool {
	if len(s) > maxNameRunes {
		return false
	}
	for i := range len(s) {
		c := s[i]
		if c >= utf8.RuneSelf || c < ' ' || 'A' <= c && c <= 'Z' ||
			c == ' ' && (i == 0 || i == len(s)-1 || s[i-1] == ' ') {
			return false
		}
	}
	return true
}

// letter lowers a rune, and spells out letters that have no decomposition.
func letter(r rune) string {
	switch r = unicode.ToLower(r); r {
	case 'ß':
		return "ss"
	case 'æ':
		return "ae"
	case 'œ':
		return "oe"
	case 'ø':
		return "o"
	case 'đ', 'ð':
		return "d"
	case 'ł':
		return "l"
	case 'ħ':
		return "h"
	case 'ı':
		return "i"
	case 'ŧ':
		return "t"
	case 'þ':
		return "th"
	case 'ς':
		return "σ"
	case '’', '‘', '`':
		return "'"
	}
	if r < firstStyled {
		return string(r)
	}
	return unstyled(r)
}

// name is a folded name with what a search looks at first.
type name struct {
	text  string
	head  uint64 // its first bytes, see headOf
	runes uint8
}

func nameOf(folded string) name {
	return name{text: folded, head: headOf(folded), runes: uint8(utf8.RuneCountInString(folded))}
}

// headOf packs the first 8 bytes, the first one highest.
func headOf(s string) uint64 {
	var b [8]byte
	copy(b[:], s)
	return binary.BigEndian.Uint64(b[:])
}

// markOf numbers a character from 0 to 63: each of a to z and of the digits has
// a number of its own, and the others share what is left.
func markOf(r rune) uint32 {
	switch {
	case 'a' <= r && r <= 'z':
		return uint32(r - 'a')
	case '0' <= r && r <= '9':
		return uint32(26 + r - '0')
	}
	return 36 + uint32(r)%28
}
