package handlers

import (
	"net"
	"net/http"
	"net/netip"
	"strings"

	"github.com/zishang520/socket.io/v2/socket"
)

// clientAddress is the address that the address limits count for. It is the peer's, unless the peer is a trusted proxy:
// then it is the last address in X-Forwarded-For that isn't one of a trusted proxy, because everything left of that was
// written by somebody who can't be trusted.
func clientAddress(s *socket.Socket, trusted []netip.Prefix) string {
	peer := s.Handshake().Address
	if host, _, err := net.SplitHostPort(peer); err == nil {
		peer = host
	}
	if len(trusted) == 0 {
		return addressKey(peer)
	}
	return addressKey(forwardedFor(peer, http.Header(s.Handshake().Headers).Values("X-Forwarded-For"), trusted))
}

// addressKey is what limits count an address by: of an IPv6 address the first 64 bits, for its owner has all of them.
func addressKey(address string) string {
	addr, err := netip.ParseAddr(address)
	if err != nil || !addr.Is6() || addr.Is4In6() {
		return address
	}
	return netip.PrefixFrom(addr, 64).Masked().String()
}

// forwardedFor walks the chain of proxies from the nearest to the client.
func forwardedFor(peer string, headers []string, trusted []netip.Prefix) string {
	hops := strings.Split(strings.Join(headers, ","), ",")
	for i := len(hops); ; {
		addr, err := netip.ParseAddr(strings.TrimSpace(peer))
		if err != nil {
			return peer
		}
		addr = addr.Unmap()
		if i--; i < 0 || !contains(trusted, addr) {
			return addr.String()
		}
		hop := strings.TrimSpace(hops[i])
		if _, err := netip.ParseAddr(hop); err != nil {
			return addr.String() // the proxy passed on something that is no address
		}
		peer = hop
	}
}

func contains(prefixes []netip.Prefix, addr netip.Addr) bool {
	for _, p := range prefixes {
		if p.Contains(addr) {
			return true
		}
	}
	return false
}
