package handlers

import (
	"bytes"
	"encoding/json"
)

// poolHead is the beginning of a part.
type poolHead struct {
	ID      json.RawMessage `json:"_id,omitempty"`
	Type    string          `json:"type"`
	GuildID *string         `json:"guild_id"`

	// Position is that of the query's guild when the request came: what came before it is in the pool. Null if the
	// guild has no history or it can't be read. Only for a client that asks for positions.
	Position json.RawMessage `json:"position,omitempty"`
}

// body returns the payload of one part. It copies the entities as they are.
func (h poolHead) body(list []entity, nonexistent []string, finished bool) []byte {
	size := 256 + 24*len(nonexistent)
	for _, e := range list {
		size += len(e.json) + 1
	}
	b := make([]byte, 0, size)
	b = append(b, bytes.TrimSuffix(encode(h), []byte("}"))...)
	b = append(b, `,"data":[`...)
	for i, e := range list {
		if i > 0 {
			b = append(b, ',')
		}
		b = append(b, e.json...)
	}
	b = append(b, `],"nonexistent":`...)
	if nonexistent == nil {
		nonexistent = []string{}
	}
	b = append(b, encode(nonexistent)...)
	if finished {
		return append(b, `,"finished":true}`...)
	}
	return append(b, `,"finished":false}`...)
}
