//go:build unix

package eio

import (
	"errors"
	"net"
	"syscall"
	"time"
)

// errWouldBlock is the result of a write to a peer whose window is full.
var errWouldBlock error = syscall.EAGAIN

// rawConn returns access to the descriptor of a plain TCP or Unix connection. It returns nil for anything else, such as
// TLS or a wrapper that must see what is read and written.
func rawConn(nc net.Conn) syscall.RawConn {
	var sc syscall.Conn
	switch nc := nc.(type) {
	case *net.TCPConn:
		sc = nc
	case *net.UnixConn:
		sc = nc
	default:
		return nil
	}
	raw, err := sc.SyscallConn()
	if err != nil {
		return nil
	}
	return raw
}

// writer writes what is queued on a connection with one system call. It is reused, so that a write does not allocate.
type writer struct {
	srv *Server
	ws  *wsConn
	buf []byte // nil: one is borrowed for the moment of the write, and the write waits until it can be done
	n   int
	err error
	fn  func(fd uintptr) bool
}

func newWriter(s *Server, buf []byte) *writer {
	w := &writer{srv: s, buf: buf}
	w.fn = w.try
	return w
}

// write writes once. With its own buffer it never waits, but returns errWouldBlock. Without one it waits until
// deadline.
func (w *writer) write(deadline time.Time) (int, error) {
	if w.buf == nil {
		_ = w.ws.nc.SetWriteDeadline(deadline)
		defer func() { _ = w.ws.nc.SetWriteDeadline(time.Time{}) }()
	}
	w.n, w.err = 0, nil
	if err := w.ws.raw.Write(w.fn); err != nil {
		return 0, err
	}
	return w.n, w.err
}

// try is called by the runtime with the descriptor; false makes it wait until the descriptor is writable.
func (w *writer) try(fd uintptr) bool {
	buf := w.buf
	if buf == nil {
		bp := w.srv.buffers.get()
		defer w.srv.buffers.put(bp)
		buf = *bp
	}
	b := w.ws.fill(buf)
	for len(b) > 0 {
		w.n, w.err = syscall.Write(int(fd), b)
		if w.err != syscall.EINTR {
			break
		}
	}
	w.n = max(w.n, 0)
	return !errors.Is(w.err, syscall.EAGAIN) || w.buf != nil
}

// rawRead reads once into buf, without waiting.
func rawRead(fd uintptr, buf []byte) (n int, err error) {
	for {
		n, err = syscall.Read(int(fd), buf)
		if err != syscall.EINTR {
			return max(n, 0), err
		}
	}
}
