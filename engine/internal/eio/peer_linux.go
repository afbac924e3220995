package eio

import (
	"crypto/tls"
	"net"

	"golang.org/x/sys/unix"
)

// unsent is how much of what has been written to nc its peer has not taken yet, in bytes; 0 if that can't be known.
func unsent(nc net.Conn) (n int) {
	onDescriptor(nc, func(fd int) { n, _ = unix.IoctlGetInt(fd, unix.SIOCOUTQ) }) // an error leaves 0
	return n
}

// peerOf asks the kernel about the peer of nc. What it doesn't know is zero.
func peerOf(nc net.Conn) (p peerState) {
	onDescriptor(nc, func(fd int) {
		p.unsent, _ = unix.IoctlGetInt(fd, unix.SIOCOUTQ)
		info, err := unix.GetsockoptTCPInfo(fd, unix.IPPROTO_TCP, unix.TCP_INFO)
		if err != nil { // a Unix socket
			p.taken.unsent = p.unsent
			return
		}
		p.taken = taken{acked: info.Bytes_acked, window: info.Snd_wnd}
		p.gone = info.Probes > maxUnanswered || info.Retransmits > maxUnanswered
	})
	return p
}

// maxUnanswered is how many segments in a row a peer's system may leave unanswered before it counts as gone. The next
// is due after a second, and the one after that in two.
const maxUnanswered = 2

func onDescriptor(nc net.Conn, do func(fd int)) {
	if t, ok := nc.(*tls.Conn); ok {
		nc = t.NetConn()
	}
	if raw := rawConn(nc); raw != nil {
		_ = raw.Control(func(fd uintptr) { do(int(fd)) })
	}
}
