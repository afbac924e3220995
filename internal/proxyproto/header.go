// Package proxyproto reads who a client is from the PROXY protocol, versions 1 and 2, which a proxy writes before the
// first byte of a connection that it passes on (haproxy.org/download/3.0/doc/proxy-protocol.txt).
package proxyproto

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"strconv"
	"strings"
)

// Local is a header of version 2 for a connection that somebody makes for himself, and not for a client.
const Local = signature + "\x20\x00\x00\x00"

const (
	signature = "\r\n\r\n\x00\r\nQUIT\n" // of version 2
	begin     = "PROXY "                 // of version 1
	maxLine   = 107                      // bytes of version 1, CRLF included
)

// ErrMissing reports a connection that begins with something else.
var ErrMissing = errors.New("no PROXY header")

// Read reads a header, and no byte of what follows it. The address is that of the client, or zero if the header names
// none: the connection is then the proxy's own, or of a kind that has no addresses of the Internet.
func Read(r io.Reader) (netip.AddrPort, error) {
	var first [len(signature)]byte // the shortest header of version 1 is longer
	if _, err := io.ReadFull(r, first[:]); err != nil {
		return netip.AddrPort{}, fmt.Errorf("read PROXY header: %w", err)
	}
	switch {
	case string(first[:]) == signature:
		return readBinary(r)
	case strings.HasPrefix(string(first[:]), begin):
		return readLine(r, first[:])
	}
	return netip.AddrPort{}, ErrMissing
}

// readLine reads the rest of a header of version 1. It reads single bytes, for the line's length is not known.
func readLine(r io.Reader, line []byte) (netip.AddrPort, error) {
	for !strings.HasSuffix(string(line), "\r\n") {
		if len(line) == maxLine {
			return netip.AddrPort{}, errors.New("PROXY header: the line is too long")
		}
		var b [1]byte
		if _, err := io.ReadFull(r, b[:]); err != nil {
			return netip.AddrPort{}, fmt.Errorf("read PROXY header: %w", err)
		}
		line = append(line, b[0])
	}
	fields := strings.Split(strings.TrimSuffix(string(line), "\r\n"), " ")
	if fields[1] == "UNKNOWN" {
		return netip.AddrPort{}, nil // whatever follows
	}
	if len(fields) != 6 || fields[1] != "TCP4" && fields[1] != "TCP6" {
		return netip.AddrPort{}, fmt.Errorf("PROXY header: %q", line)
	}
	var ends [2]netip.AddrPort // source, destination
	for i := range ends {
		addr, err1 := netip.ParseAddr(fields[2+i])
		port, err2 := strconv.ParseUint(fields[4+i], 10, 16)
		if err1 != nil || err2 != nil || addr.Is4() != (fields[1] == "TCP4") || addr.Zone() != "" {
			return netip.AddrPort{}, fmt.Errorf("PROXY header: %q", line)
		}
		ends[i] = netip.AddrPortFrom(addr.Unmap(), uint16(port))
	}
	return ends[0], nil
}

// readBinary reads a header of version 2 after its signature.
func readBinary(r io.Reader) (client netip.AddrPort, err error) {
	var fixed [4]byte // version and command, family, length of what follows
	if _, err := io.ReadFull(r, fixed[:]); err != nil {
		return client, fmt.Errorf("read PROXY header: %w", err)
	}
	length := int64(binary.BigEndian.Uint16(fixed[2:]))
	var size int // of an address
	switch {
	case fixed[0] == 0x20: // LOCAL
	case fixed[0] != 0x21:
		return client, fmt.Errorf("PROXY header: version and command %#x", fixed[0])
	case fixed[1] == 0x11: // TCP over IPv4
		size = 4
	case fixed[1] == 0x21: // TCP over IPv6
		size = 16
	case fixed[1] != 0x00 && fixed[1] != 0x31: // unknown, and a Unix socket
		return client, fmt.Errorf("PROXY header: family %#x", fixed[1])
	}
	if size > 0 {
		ends := make([]byte, 2*size+4) // two addresses and two ports
		if length -= int64(len(ends)); length < 0 {
			return client, errors.New("PROXY header: too short for its addresses")
		}
		if _, err := io.ReadFull(r, ends); err != nil {
			return client, fmt.Errorf("read PROXY header: %w", err)
		}
		addr, _ := netip.AddrFromSlice(ends[:size])
		client = netip.AddrPortFrom(addr.Unmap(), binary.BigEndian.Uint16(ends[2*size:]))
	}
	if _, err := io.CopyN(io.Discard, r, length); err != nil { // extensions
		return netip.AddrPort{}, fmt.Errorf("read PROXY header: %w", err)
	}
	return client, nil
}
