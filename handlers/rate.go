package handlers

// admit counts one event of the socket against what it, its user and its address may send.
func (s *session) admit() bool {
	g := s.gateway
	// All buckets are asked, so that one that is empty doesn't shield the others.
	ok := s.events.Allow()
	ok = g.addresses.allow(s.address) && ok
	if c := s.claims.Load(); c != nil {
		ok = g.users.allow(c.Subject) && ok
	}
	return ok
}

// refuse answers an event that is one too many, or ends the connection of a client that goes on and on.
func (s *session) refuse(r *request) error {
	g := s.gateway
	g.metrics.refused.Inc()
	if !s.refusals.Allow() {
		g.metrics.floods.Inc()
		s.log().Warn("flooding client disconnected", "event", shown(r.event))
		s.peer.Disconnect(true)
		return nil
	}
	err := errRateLimited()
	if r.event == "request_elevation" {
		r.part(elevationReturn, encode(elevationBody{Error: &shortError{err.Code, err.Message}, ID: r.id}))
	}
	return err
}

func errRateLimited() *Error {
	return &Error{Code: 429, Message: wordRateLimited, Human: "Too many events. Slow down."}
}

func errTooManyRequests() *Error {
	return &Error{Code: 429, Message: wordTooManyRequests, Human: "Too many requests are in progress. Wait for answers first."}
}
