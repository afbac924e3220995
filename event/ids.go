package event

import "github.com/architus/guildcast/internal/js"

// StringIDs returns entity with its ids as strings, as clients get them: its own "id", if that is a whole number, and
// every whole number from 2^53 on, which can only be an id and which JavaScript can't hold. entity must be valid JSON.
// StringIDs does not change it, and returns it as it is if it holds no such number.
func StringIDs(entity []byte) []byte {
	var out, key []byte // key is the latest string of the outermost object
	copied, depth := 0, 0
	for i := 0; i < len(entity); {
		switch c := entity[i]; {
		case c == '"':
			end := js.SkipString(entity, i)
			if depth == 1 {
				key = entity[i:end]
			}
			i = end
		case c == '-' || '0' <= c && c <= '9':
			end := js.SkipValue(entity, i)
			own := depth == 1 && string(key) == `"id"`
			if number := string(entity[i:end]); ValidID(number) && (own || inexact(number)) {
				out = append(append(append(append(out, entity[copied:i]...), '"'), number...), '"')
				copied = end
			}
			i = end
		default:
			switch c {
			case '{', '[':
				depth++
			case '}', ']':
				depth--
			}
			i++
		}
	}
	if out == nil {
		return entity
	}
	return append(out, entity[copied:]...)
}

// inexact reports whether a whole number is 2^53 or more, so that JavaScript may round it.
func inexact(digits string) bool {
	const limit = "9007199254740992"
	return len(digits) > len(limit) || len(digits) == len(limit) && digits >= limit
}
