//go:build unix

package redistest

import "syscall"

// Pause stops the process without closing its connections, as a hung machine does. Resume continues it.
func (s *Server) Pause() { s.signal(syscall.SIGSTOP) }

// Resume ends a Pause.
func (s *Server) Resume() { s.signal(syscall.SIGCONT) }

func (s *Server) signal(sig syscall.Signal) {
	s.tb.Helper()
	s.own()
	if s.cmd == nil {
		s.tb.Fatal("redis-server is stopped")
	}
	if err := s.cmd.Process.Signal(sig); err != nil {
		s.tb.Fatalf("signal redis-server: %v", err)
	}
}
