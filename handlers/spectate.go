package handlers

import (
	"context"
	"encoding/json"

	"github.com/architus/guildcast/event"
	"github.com/architus/guildcast/permissions"
)

// spectateBody is the payload of spectate_return.
type spectateBody struct {
	Success     bool    `json:"success"`
	GuildID     *string `json:"guild_id"`
	IncludeLogs bool    `json:"include_logs"`

	// Permissions are those in the guild. Absent if the socket has stopped spectating.
	Permissions *permissions.Bits `json:"permissions,omitempty"`

	// Only for a client that asks for positions. Position is null if the guild's history can't be read.
	Position  json.RawMessage `json:"position,omitempty"`
	Recovered *bool           `json:"recovered,omitempty"`
	Replayed  *int            `json:"replayed,omitempty"`

	ID json.RawMessage `json:"_id,omitempty"`
}

// onSpectate answers `spectate`. It answers before it returns, and a socket's events are handled one after another, so
// the later of two requests wins.
func onSpectate(r *request) error {
	s := r.session
	v, bad := r.view()
	if bad != nil {
		return bad
	}
	past, bad := r.recall()
	if bad != nil {
		return bad
	}
	claims, err := s.authorize(r)
	if err != nil {
		return err
	}
	if v.guild == "" {
		return s.stopSpectating(r)
	}
	// Only those who may see the guild can make the node subscribe to it.
	if err := allowsView(claims, v); err != nil {
		return err
	}
	topics, err := s.subscribe(v)
	if err != nil {
		return err
	}
	if past.positions {
		return s.spectateFrom(r, v, topics, past)
	}
	s.take()
	defer s.give()
	if s.claims.Load() == nil { // the elevation ended meanwhile
		topics.release()
		return s.lost
	}
	if err := s.watch(v, topics); err != nil {
		topics.release()
		return err
	}
	s.positions.Store(false)
	bits, _ := s.claims.Load().In(v.guild)
	r.answer(eventSpectateReturn, encode(v.answer(bits, r.id, nil)))
	return nil
}

// answer returns the payload that says that the socket spectates v. Got is nil if the client asked for no positions.
func (v *view) answer(bits permissions.Bits, id []byte, got *recalled) spectateBody {
	bits = clientBits(bits)
	body := spectateBody{Success: true, GuildID: &v.guild, IncludeLogs: v.logs, Permissions: &bits, ID: id}
	if got != nil {
		body.Position = []byte("null")
		if got.known {
			body.Position = encode(got.position.String())
		}
		body.Recovered, body.Replayed = &got.recovered, &got.replayed
	}
	return body
}

func (s *session) stopSpectating(r *request) error {
	s.take()
	defer s.give()
	if s.claims.Load() == nil {
		return s.lost
	}
	s.unwatch()
	r.answer(eventSpectateReturn, encode(spectateBody{Success: true, ID: r.id}))
	return nil
}

// view returns what the client asks to spectate. Without a guild, that is nothing.
func (r *request) view() (v view, err *Error) {
	if _, there := r.fields["guild_id"]; !there {
		return v, malformed("guild_id is missing; null stops spectating.")
	}
	if v.guild, err = r.snowflake("guild_id"); err != nil {
		return v, err
	}
	v.logs, err = r.flag("include_logs")
	return v, err
}

// subscribe returns once Redis has confirmed the subscriptions that v needs.
func (s *session) subscribe(v view) (h subscriptions, err error) {
	ctx, cancel := context.WithTimeout(s.gateway.ctx, s.gateway.config.SubscribeTimeout)
	defer cancel()
	if h.guild, err = s.gateway.topics.Acquire(ctx, event.Topic{Guild: v.guild}); err == nil && v.logs {
		h.logs, err = s.gateway.topics.Acquire(ctx, event.Topic{Guild: v.guild, Logs: true})
	}
	if err != nil {
		h.release()
		return subscriptions{}, errRedis().because(err)
	}
	h.stream = s.gateway.streams.enter(v.guild)
	if v.logs {
		h.logs = h.stream.enterLogs(h.logs)
	}
	return h, nil
}
