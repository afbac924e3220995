package handlers

import (
	"bytes"
	"context"
	"encoding/json"
	"strconv"

	"github.com/architus/guildcast/internal/js"
)

// Compat is an older protocol that a gateway speaks beside its own.
type Compat string

// CompatArchitus is the protocol of the first Architus dashboard (archit.us at f96db05). See the files that begin with
// compat, and docs/reference/compat.md.
const CompatArchitus Compat = "architus"

// Events of the first Architus dashboard. The answer to a pool request has the name that it has in our own protocol,
// but another shape.
const (
	eventPoolRequest     = "pool_request"
	eventPoolAllRequest  = "pool_all_request"
	eventMockUserEvent   = "mock_user_event"
	eventMockBotEvent    = "mock_bot_event"
	eventElevationGained = "elevation_return"
)

// compatHandler returns the handler of an event of the first dashboard.
func compatHandler(event string) (h handler, known bool) {
	switch event {
	case eventPoolRequest:
		return handler{answer: onPoolRequest, compat: true}, true
	case eventPoolAllRequest:
		return handler{answer: onPoolAllRequest, compat: true}, true
	case eventMockUserEvent:
		return handler{answer: onMockUserEvent, objects: true, compat: true}, true
	}
	return handler{}, false
}

// compat reports whether the request is one of the first dashboard's. It carries no token, and never has: that
// dashboard is elevated by its cookie.
func (r *request) compat() bool {
	h, _ := r.session.gateway.handlerOf(r.event)
	return h.compat
}

// elevatedByCookie tells the first dashboard that its cookie has elevated it.
func (r *request) elevatedByCookie() {
	s := r.session
	if s.gateway.config.Compat != CompatArchitus {
		return
	}
	s.take()
	defer s.give()
	if s.cookie = s.claims.Load(); s.cookie != nil {
		r.part(eventElevationGained, []byte(`{"message":"success"}`))
	}
}

// compatErrorBody is an errorBody whose details are a text or null.
type compatErrorBody struct {
	Word    string          `json:"message"`
	Code    int             `json:"code"`
	Human   string          `json:"human"`
	Details *string         `json:"details"`
	Context []string        `json:"context"`
	ID      json.RawMessage `json:"_id"` // null if the request had none
}

// failCompat answers with an error. A pool request ends with its last part all the same: the dashboard waits for that,
// and asks for no pool while it waits.
func (r *request) failCompat(e *Error) {
	body := compatErrorBody{e.Word, e.Code, e.Human, nil, []string{r.event}, r.id}
	if e.Details != nil {
		text := string(encode(e.Details))
		if s, ok := e.Details.(string); ok {
			text = s
		}
		body.Details = &text
	}
	r.answer(eventError, encode(body))
	if r.event != eventMockUserEvent && r.id != nil {
		r.part(eventPoolResponse, compatPart(r.id, nil, nil, true))
	}
}

// compatPart returns the payload of one part of a pool. It copies the entities as they are.
func compatPart(id []byte, list []entity, nonexistent []string, finished bool) []byte {
	b := append(make([]byte, 0, 128+sizeOf(list)), `{"_id":`...)
	if id == nil {
		id = []byte("null")
	}
	b = append(append(b, id...), `,"data":[`...)
	for i, e := range list {
		if i > 0 {
			b = append(b, ',')
		}
		b = append(b, e.json...)
	}
	b = append(b, `],"nonexistant":[`...)
	first := true
	for _, id := range nonexistent {
		if !compatID(id) { // the dashboard would drop the whole part, and forgets the id at the last one anyway
			continue
		}
		if !first {
			b = append(b, ',')
		}
		first = false
		b = js.AppendString(b, id)
	}
	b = append(b, `],"finished":`...)
	return append(strconv.AppendBool(b, finished), '}')
}

// compatID reports whether the dashboard takes a string for an id.
func compatID(s string) bool {
	return len(s) >= 7 && len(s) <= 20 && len(bytes.Trim([]byte(s), "0123456789")) == 0
}

// onPoolRequest answers `pool_request`, for entities by their ids.
func onPoolRequest(r *request) error {
	if !r.has("ids") {
		return malformed("ids is missing.")
	}
	return r.compatPool(requestIDs)
}

// onPoolAllRequest answers `pool_all_request`, for a whole pool.
func onPoolAllRequest(r *request) error { return r.compatPool(requestAll) }

func (r *request) compatPool(which string) error {
	q := poolQuery{request: which, compat: true}
	var err *Error
	if q.kind, err = r.text("type"); err != nil {
		return err
	}
	switch q.kind {
	case typeUser, typeGuild: // which belong to no guild, whatever the request says
	case typeMember, typeChannel, typeAutoResponse, typeCustomEmoji:
		if q.guild, err = r.snowflake("guildId"); err != nil {
			return err
		}
		if q.guild == "" {
			return malformed("guildId is missing: %ss belong to a guild.", q.kind)
		}
	default:
		return malformed("There is no such type.")
	}
	if which == requestIDs {
		if q.ids, err = r.entityIDs(q.kind); err != nil {
			return err
		}
	}
	return r.answerQuery(q)
}

// sendCompat is poolAnswer.send for the first dashboard: it gets no users beside members, and no entity that it can't
// decode.
func (a *poolAnswer) sendCompat(list []entity, last bool) error {
	t, q := a.task, a.query
	fit := make([]entity, 0, len(list))
	for _, e := range list {
		body, ok := compatEntity(q.kind, e.json)
		if !ok {
			a.gateway.complainOfEntity(q, e.id)
			if q.request == requestIDs {
				a.nonexistent = append(a.nonexistent, e.id)
			}
			continue
		}
		fit = append(fit, entity{id: e.id, json: body})
	}
	switch {
	case last:
		t.finish(eventPoolResponse, compatPart(t.id, fit, a.nonexistent, true))
	case len(fit) > 0 && !t.send(eventPoolResponse, compatPart(t.id, fit, nil, false)):
		return context.Canceled
	}
	return nil
}
