package handlers

import (
	"encoding/json"
	"time"

	"github.com/zishang520/socket.io/v2/socket"

	"github.com/architus/guildcast/permissions"
)

// elevationBody is the payload of request_elevation_return.
type elevationBody struct {
	Success   bool   `json:"success"`
	Room      string `json:"room,omitempty"`
	UserID    string `json:"user_id,omitempty"`
	ExpiresAt int64  `json:"expires_at,omitempty"`

	// On success only. Guilds is left out if there are over maxGuildsTold, and is {} if there are none.
	Guilds        *map[string]permissions.Bits `json:"guilds,omitempty"`
	ArchitusAdmin *bool                        `json:"architus_admin,omitempty"`

	Error *shortError     `json:"error,omitempty"`
	ID    json.RawMessage `json:"_id,omitempty"`
}

type shortError struct {
	Code int    `json:"code"`
	Word string `json:"message"`
}

// maxGuildsTold bounds the guilds that an elevation is answered with.
const maxGuildsTold = 1000

// told returns bits as clients get them: those that JavaScript can hold in a number. An administrator has all.
func told(bits permissions.Bits) permissions.Bits { return bits & maxSafeInteger }

// elevated returns the payload of a success. It is of the claims that are in force.
func (r *request) elevated(c *permissions.Claims) elevationBody {
	body := elevationBody{
		Success: true, Room: string(r.session.room()), UserID: c.Subject, ExpiresAt: c.ExpiresAt.Unix(),
		ArchitusAdmin: &c.ArchitusAdmin, ID: r.id,
	}
	if c.GuildCount() <= maxGuildsTold {
		guilds := c.GuildBits()
		if guilds == nil {
			guilds = map[string]permissions.Bits{}
		}
		for guild, bits := range guilds {
			guilds[guild] = told(bits)
		}
		body.Guilds = &guilds
	}
	return body
}

// onRequestElevation answers `request_elevation`: the token itself, or an object that holds it. Every outcome, errors
// included, is told by request_elevation_return.
func onRequestElevation(r *request) error {
	token := r.bare
	if token == "" {
		var err *Error
		if token, err = r.text("token"); err != nil {
			r.refuseElevation(err)
			return nil
		}
	}
	r.forget()
	r.elevate(token)
	return nil
}

// elevateAtConnect takes the token of the handshake's auth object, and only of that: a query string ends up in logs.
func (s *session) elevateAtConnect(handshake *socket.Handshake) {
	auth, ok := handshake.Auth.(map[string]any)
	if !ok || auth["token"] == nil {
		return
	}
	r := &request{session: s, event: eventRequestElevation}
	defer func() {
		if p := recover(); p != nil {
			s.panicked(r.event, p)
			r.refuseElevation(errInternal())
		}
	}()
	if !s.gateway.addresses.allow(s.address) { // counts like the event that it stands for; the socket and the user are new
		s.gateway.metrics.refused.Inc()
		r.refuseElevation(errRateLimited())
		return
	}
	token, ok := auth["token"].(string)
	if !ok {
		r.refuseElevation(malformed("auth.token must be a string."))
		return
	}
	r.elevate(token)
}

// elevate verifies the token, changes the session, and answers. An elevation that the socket has already outlives a bad
// token.
func (r *request) elevate(token string) {
	s := r.session
	claims, err := s.verify(token)
	if err != nil {
		r.refuseElevation(s.publicError(r.event, err))
		return
	}
	s.take()
	defer s.give()
	if err := s.elevate(claims, r.form); err != nil {
		r.refuseElevation(err)
		return
	}
	s.gateway.metrics.elevations.WithLabelValues("ok").Inc()
	r.answer(eventElevationReturn, encode(r.elevated(claims)))
}

func (r *request) refuseElevation(err *Error) {
	r.session.gateway.metrics.elevations.WithLabelValues(err.Word).Inc()
	r.answer(eventElevationReturn, r.refusedElevation(err))
}

// refusedElevation returns the payload of a failure.
func (r *request) refusedElevation(err *Error) []byte {
	return encode(elevationBody{Error: &shortError{err.Code, err.Word}, ID: r.id})
}

// elevate gives the socket what claims allow: in place of the claims that it has, where they are the same user's, and
// else after everything that the old ones gave is gone. The turn is held.
func (s *session) elevate(c *permissions.Claims, f permissions.Form) *Error {
	g := s.gateway
	now := time.Now()
	switch {
	case s.closed:
		return errNotElevated()
	case c.Expired(now):
		return errTokenExpired()
	}
	if old := s.claims.Load(); old != nil && old.Subject != c.Subject {
		s.drop(errDemoted("The socket was elevated as another user."))
	}
	s.form = f
	stale := s.bearer
	defer g.bearers.remove(stale) // and not before the filter has forgotten the claims before
	fresh := s.claims.Swap(c) == nil
	s.bearer = g.bearers.add(s, c)
	if fresh {
		g.metrics.elevated.Inc()
		s.peer.Join(s.room())
	}
	s.schedule(c)
	// A revocation that arrived while the token was verified has passed this session by, which had no claims yet.
	if g.revocations.Revoked(c, now) {
		body := s.demote(reasonRevoked, errTokenRevoked(), nil)
		if !fresh {
			s.emit(eventElevationExpired, s.form, body)
		}
		return errTokenRevoked()
	}
	if !fresh {
		s.review(c, now)
	}
	return nil
}
