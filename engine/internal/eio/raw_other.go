//go:build !unix

package eio

import (
	"errors"
	"net"
	"syscall"
	"time"
)

// errWouldBlock is never returned here.
var errWouldBlock = errors.New("write would block")

// rawConn always returns nil: connections are read and written by goroutines of their own.
func rawConn(net.Conn) syscall.RawConn { return nil }

type writer struct{ ws *wsConn }

func newWriter(*Server, []byte) *writer { return &writer{} }

func (*writer) write(time.Time) (int, error) { return 0, errors.ErrUnsupported }

func rawRead(uintptr, []byte) (int, error) { return 0, errors.ErrUnsupported }
