package redistest

import (
	"net"
	"strconv"
	"testing"
)

// StartTLS is Start of a server that also serves TLS, at the host:port that it returns, and wants certificates of its
// clients there. The files are in PEM.
func StartTLS(tb testing.TB, ca, cert, key string, args ...string) (s *Server, addr string) {
	tb.Helper()
	port := strconv.Itoa(freePort(tb))
	s = Start(tb, append([]string{
		"--tls-port", port, "--tls-ca-cert-file", ca, "--tls-cert-file", cert, "--tls-key-file", key,
	}, args...)...)
	return s, net.JoinHostPort("127.0.0.1", port)
}
