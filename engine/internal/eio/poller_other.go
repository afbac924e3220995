//go:build !linux

package eio

// poller is for Linux; elsewhere every connection has a goroutine that reads.
type poller struct{}

func newPoller(*Server) (*poller, error) { return nil, nil }

func (*poller) add(*wsConn) error  { return nil }
func (*poller) done(*wsConn, bool) {}
func (*poller) remove(*wsConn)     {}
func (*poller) stop()              {}
