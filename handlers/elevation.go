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

	// On success only. Guilds is absent if there are more than maxGuildsListed, and {} if there are none.
	Guilds        *map[string]permissions.Bits `json:"guilds,omitempty"`
	ArchitusAdmin *bool                        `json:"architus_admin,omitempty"`

	Error *shortError     `json:"error,omitempty"`
	ID    json.RawMessage `json:"_id,omitempty"`
}

type shortError struct {
	Code int    `json:"code"`
	Word string `json:"message"`
}

// maxGuildsListed is the most guilds that an answer to an elevation lists.
const maxGuildsListed = 1000

// clientBits returns the bits that JavaScript can hold in a number. An administrator has all of them.
func clientBits(bits permissions.Bits) permissions.Bits { return bits & maxSafeInteger }

// elevated returns the payload of a success. C are the claims in force.
func (r *request) elevated(c *permissions.Claims) elevationBody {
	body := elevationBody{
		Success: true, Room: string(r.session.room()), UserID: c.Subject, ExpiresAt: c.ExpiresAt.Unix(),
		ArchitusAdmin: &c.ArchitusAdmin, ID: r.id,
	}
	if c.GuildCount() <= maxGuildsListed {
		guilds := c.GuildBits()
		if guilds == nil {
			guilds = map[string]permissions.Bits{}
		}
		for guild, bits := range guilds {
			guilds[guild] = clientBits(bits)
		}
		body.Guilds = &guilds
	}
	return body
}

// onRequestElevation answers `request_elevation`. The payload is the token itself, or an object that holds it. The
// answer is always request_elevation_return, even for an error.
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

// elevateAtConnect elevates the socket with the token in the handshake's auth object or, if that has none, in the
// cookie that was taken for it. It never looks for a token in the query string, because URLs end up in logs.
func (s *session) elevateAtConnect(socket *socket.Socket) {
	auth, _ := socket.Handshake().Auth.(map[string]any)
	if auth["token"] != nil {
		s.atConnect(func(r *request) {
			token, ok := auth["token"].(string)
			if !ok {
				r.refuseElevation(malformed("auth.token must be a string."))
				return
			}
			r.elevate(token)
		})
		return
	}
	if cookie := s.gateway.cookieOf(socket); cookie != nil {
		s.atConnect(func(r *request) { r.elevateByCookie(cookie) })
	}
}

// atConnect runs elevate for a request_elevation that the handshake stands for.
func (s *session) atConnect(elevate func(*request)) {
	r := &request{session: s, event: eventRequestElevation, began: time.Now()}
	defer func() {
		if p := recover(); p != nil {
			s.panicked(r.event, p)
			r.refuseElevation(errInternal())
		}
	}()
	// It counts like the event that it stands for. The socket and the user are new, so only the address can be over.
	if !s.gateway.addresses.allow(s.address) {
		s.gateway.metrics.refused.Inc()
		r.refuseElevation(errRateLimited())
		return
	}
	elevate(r)
}

func (r *request) elevateByCookie(cookie *tokenCookie) {
	if cookie.ambiguous {
		r.refuseElevation(r.session.publicError(r.event, errAmbiguousCookie()))
		return
	}
	r.elevate(cookie.token)
	r.elevatedByCookie()
}

// elevate verifies the token, elevates the session, and answers. A bad token leaves an earlier elevation in place.
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

// refusedElevation returns the payload of a refusal.
func (r *request) refusedElevation(err *Error) []byte {
	return encode(elevationBody{Error: &shortError{err.Code, err.Word}, ID: r.id})
}

// elevate puts c in force. If the socket has claims of the same user, c replaces them; if it has another user's, it is
// demoted first. The turn is held.
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
	// A revocation that arrived while the token was verified did not find these claims in any session.
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
