package handlers

// onDemote answers `demote`: the socket gives its elevation back.
func onDemote(r *request) error {
	s := r.session
	if _, err := s.authorize(r); err != nil {
		return err
	}
	s.take()
	defer s.give()
	if s.claims.Load() == nil {
		return s.lost // meanwhile
	}
	r.answer("elevation_expired", s.demote(reasonDemoted, errDemoted("The socket was demoted."), r.id))
	return nil
}
