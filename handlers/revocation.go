package handlers

import (
	"github.com/architus/guildcast/engine"
	"github.com/architus/guildcast/permissions"
)

// Revoke demotes every socket whose token matches r. Parts.Revocations must have r already, so that a socket that is
// being elevated finds it. Guild events end before Revoke returns; the rest of the demotions follows.
func (g *Gateway) Revoke(r permissions.Revocation) {
	var conns []*engine.Conn
	var matching []*session
	for _, s := range g.bearers.of(r) {
		conns = append(conns, s.conn())
		if r.Matches(s.claims.Load()) {
			matching = append(matching, s)
		}
	}
	g.filter.Revoke(r, conns)
	for _, s := range matching {
		if st := s.seat.Load(); st != nil {
			st.await(s.conn())
		}
	}
	if len(matching) == 0 {
		return
	}
	g.spawn(func() {
		for _, s := range matching {
			s.revoke(r)
		}
	})
}

// revoke demotes one socket, unless it now has another token.
func (s *session) revoke(r permissions.Revocation) {
	s.take()
	defer s.give()
	if r.Matches(s.claims.Load()) {
		s.emit(eventElevationExpired, s.form, s.demote(reasonRevoked, errTokenRevoked(), nil))
	}
}
