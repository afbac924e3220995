//go:build !linux

package eio

import "net"

// unsent is for Linux; elsewhere nobody knows.
func unsent(net.Conn) int { return 0 }

// peerOf is for Linux; elsewhere nobody knows.
func peerOf(net.Conn) peerState { return peerState{} }
