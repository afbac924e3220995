package directory

import (
	"bytes"
	"encoding/json"

	"github.com/architus/guildcast/event"
)

// maxMentions bounds the ids that are taken from one event.
const maxMentions = 1000

// mentions returns the ids that stand anywhere in a payload, as strings or numbers. An id that is not of the pool is
// looked up in vain.
func mentions(payload []byte) (ids []string) {
	d := json.NewDecoder(bytes.NewReader(payload))
	d.UseNumber() // ids are above 2^53
	for len(ids) < maxMentions {
		t, err := d.Token()
		if err != nil {
			return ids
		}
		var id string
		switch t := t.(type) {
		case string: // names of members too: {"<id>": {...}}
			id = t
		case json.Number:
			id = t.String()
		}
		if event.ValidID(id) {
			ids = append(ids, id)
		}
	}
	return ids
}
