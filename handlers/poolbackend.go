package handlers

import (
	"context"
	"encoding/json"

	"github.com/architus/guildcast/event"
)

// poolArgs are the arguments of a worker's pool methods.
type poolArgs struct {
	Type    string   `json:"type"`
	GuildID string   `json:"guild_id,omitempty"`
	IDs     []string `json:"ids,omitempty"`
	Query   string   `json:"query,omitempty"`
	Limit   int      `json:"limit,omitempty"`
}

// poolResult is one part of a worker's result.
type poolResult struct {
	Data []json.RawMessage `json:"data"`
}

// backendRead is a request to a worker. Two with equal questions have the same answer.
type backendRead struct {
	question question
	read     func(context.Context) ([]entity, int, error)
}

// backendRead returns a request to one pool method. Each entity is in its answer once.
func (g *Gateway) backendRead(method string, args poolArgs) backendRead {
	return backendRead{
		question: questionOf(method + "\x00" + string(encode(args))),
		read: func(ctx context.Context) (list []entity, bytes int, err error) {
			defer g.recovered(eventPool, &err)
			seen := map[string]struct{}{}
			err = g.ask(ctx, method, args, func(r poolResult) error {
				for _, raw := range r.Data {
					id, body, ok := identify(raw)
					if _, again := seen[id]; !ok || again {
						continue
					}
					seen[id] = struct{}{}
					list = append(list, entity{id: id, json: body})
				}
				return nil
			})
			return list, sizeOf(list), err
		},
	}
}

// identify returns an entity's id, and the entity as clients get it: with its ids as strings. It returns false for an
// entity without an id.
func identify(raw []byte) (id string, body []byte, ok bool) {
	if !json.Valid(raw) {
		return "", nil, false
	}
	body = event.StringIDs(raw)
	var fields map[string]json.RawMessage // a struct would take "ID" for "id"
	if json.Unmarshal(body, &fields) != nil || json.Unmarshal(fields["id"], &id) != nil {
		return "", nil, false
	}
	return id, body, id != ""
}
