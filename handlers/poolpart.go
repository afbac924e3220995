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
}

// poolBody returns the payload of one part. It copies the entities as they are.
func poolBody(id []byte, kind, guild string, list []entity, nonexistent []string, finished bool) []byte {
	head := poolHead{ID: id, Type: kind}
	if guild != "" {
		head.GuildID = &guild
	}
	size := 256 + 24*len(nonexistent)
	for _, e := range list {
		size += len(e.json) + 1
	}
	b := make([]byte, 0, size)
	b = append(b, bytes.TrimSuffix(encode(head), []byte("}"))...)
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
