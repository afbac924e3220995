package eio

import (
	"crypto/tls"
	"net"

	"golang.org/x/sys/unix"
)

// unsent is how much of what has been written to nc its peer has not taken yet, in bytes; 0 where that can't be known.
func unsent(nc net.Conn) (n int) {
	if t, ok := nc.(*tls.Conn); ok {
		nc = t.NetConn()
	}
	if raw := rawConn(nc); raw != nil {
		_ = raw.Control(func(fd uintptr) { n, _ = unix.IoctlGetInt(int(fd), unix.SIOCOUTQ) }) // an error leaves 0
	}
	return n
}
