package handlers

import (
	"bytes"
	"encoding/json"

	"github.com/architus/guildcast/engine"
	"github.com/architus/guildcast/internal/js"
	"github.com/architus/guildcast/permissions"
)

// maxIDScan is how many bytes of a refused payload are searched for its _id.
const maxIDScan = 64 << 10

// payloadOf returns the first argument of an event as the client wrote it, and the size of its decoded arguments and
// attachments. Each escape in a string counts as one byte, the least that it can decode to; the true size is checked
// after decoding.
func payloadOf(in engine.Incoming) (arg []byte, size int) {
	data := in.Payload
	at := js.SkipSpace(data, 0) + 1 // after the bracket
	at = js.SkipValue(data, js.SkipSpace(data, at))
	at, ok := js.Next(data, at)
	if !ok {
		return nil, in.AttachmentBytes
	}
	arg = data[at:]
	size = len(arg) - len(`]`) + in.AttachmentBytes
	if arg[0] != '"' {
		return arg, size
	}
	size -= len(`""`)
	for rest := arg[:js.SkipString(arg, 0)]; ; {
		i := bytes.IndexByte(rest, '\\')
		if i < 0 || i+1 == len(rest) {
			return arg, size
		}
		n := min(escapeLen(rest[i:]), len(rest)-i)
		size -= n - 1
		rest = rest[i+n:]
	}
}

// escapeLen returns the length of the escape at the start of rest, which is the end of a JSON string.
func escapeLen(rest []byte) int {
	if len(rest) > 1 && rest[1] == 'u' {
		return len(`\u0000`)
	}
	return len(`\n`)
}

// glance returns the form of a payload that will not be decoded, and its _id if there is a valid one in the first
// maxIDScan bytes.
func glance(arg []byte) (permissions.Form, []byte) {
	if len(arg) == 0 || arg[0] != '"' {
		return permissions.FormObject, glanceID(arg, false)
	}
	// Unquote only as much of the text as is searched, and no half of an escape.
	text := arg[:js.SkipString(arg[:min(len(arg), maxIDScan)], 0)]
	end := 1
	for end < len(text) && text[end] != '"' {
		n := 1
		if text[end] == '\\' {
			n = escapeLen(text[end:])
		}
		if end+n > len(text) {
			break
		}
		end += n
	}
	inner, ok := js.Unquote(append(bytes.Clone(text[:end]), '"'))
	if !ok {
		return permissions.FormString, nil
	}
	return permissions.FormString, glanceID([]byte(inner), true)
}

// glanceID returns the _id of the object that text begins with. The last of several counts, as in decoding.
func glanceID(text []byte, numbers bool) (id []byte) {
	text = text[:min(len(text), maxIDScan)]
	at := js.SkipSpace(text, 0)
	if at == len(text) || text[at] != '{' {
		return nil
	}
	for at++; ; {
		name, ok := js.Next(text, at)
		if !ok {
			return id
		}
		nameEnd := js.SkipValue(text, name)
		value, ok := js.Next(text, nameEnd)
		if !ok {
			return id
		}
		at = js.SkipValue(text, value)
		if at == len(text) { // cut off, perhaps
			return id
		}
		if string(text[name:nameEnd]) == `"_id"` {
			id = decodeID(text[value:at], numbers)
		}
	}
}

// decodeID returns an _id as answers repeat it, or nil if raw is not a valid one.
func decodeID(raw []byte, numbers bool) []byte {
	if len(raw) > len(`\u0000`)*maxIDBytes {
		return nil
	}
	d := json.NewDecoder(bytes.NewReader(raw))
	if numbers {
		d.UseNumber()
	}
	var v any
	if d.Decode(&v) != nil {
		return nil
	}
	p := payload{fields: map[string]any{"_id": v}}
	if p.takeID() != nil {
		return nil
	}
	return p.id
}
