package handlers

import "github.com/architus/guildcast/permissions"

// Revoke demotes every socket whose token r takes back. Parts.Revocations must know r already, so that a socket that is
// being elevated this moment finds out by itself. It returns at once; what a revoked socket spectates ends before that.
func (g *Gateway) Revoke(r permissions.Revocation) {
	g.filter.Revoke(r)
	var matching []*session
	for _, s := range g.all() {
		if r.Matches(s.claims.Load()) {
			matching = append(matching, s)
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

// revoke demotes one socket, unless it has another token by now.
func (s *session) revoke(r permissions.Revocation) {
	s.take()
	defer s.give()
	if r.Matches(s.claims.Load()) {
		s.emit(eventElevationExpired, s.form, s.demote(reasonRevoked, errTokenRevoked(), nil))
	}
}
