//go:build !unix

package redistest

// Pause skips the test: only Unix systems can stop a process for a while.
func (s *Server) Pause() { s.tb.Skip("this system can't pause a process") }

// Resume ends a Pause.
func (s *Server) Resume() {}
