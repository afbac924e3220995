package handlers

import (
	"net"
	"net/http"
	"net/netip"
	"strings"

	"github.com/zishang520/socket.io/v2/socket"
)

// clientAddress returns the address that the address limits count. It is the peer's, unless the peer is a trusted
// proxy: then it is the last address in X-Forwarded-For that isn't a trusted proxy's, because somebody untrusted wrote
// everything to the left of it. Forwarded (RFC 7239) is read if there is no X-Forwarded-For.
func clientAddress(s *socket.Socket, trusted []netip.Prefix) string {
	return addressOf(s.Handshake().Address, http.Header(s.Handshake().Headers), trusted)
}

// addressOf is clientAddress for a request from a peer.
func addressOf(peer string, header http.Header, trusted []netip.Prefix) string {
	if host, _, err := net.SplitHostPort(peer); err == nil {
		peer = host
	}
	if len(trusted) == 0 {
		return addressKey(peer)
	}
	hops := strings.Split(strings.Join(header.Values("X-Forwarded-For"), ","), ",")
	if len(header.Values("X-Forwarded-For")) == 0 {
		hops = forwardedHops(header.Values("Forwarded"))
	}
	return addressKey(forwardedFor(peer, hops, trusted))
}

// addressKey returns the key that the limits count an address under. An IPv6 address counts by its first 64 bits,
// because its owner has the whole network.
func addressKey(address string) string {
	addr, err := netip.ParseAddr(address)
	if err != nil || !addr.Is6() || addr.Is4In6() {
		return address
	}
	return netip.PrefixFrom(addr, 64).Masked().String()
}

// forwardedFor walks the chain of proxies from the nearest to the client.
func forwardedFor(peer string, hops []string, trusted []netip.Prefix) string {
	for i := len(hops); ; {
		addr, err := netip.ParseAddr(strings.TrimSpace(peer))
		if err != nil {
			return peer
		}
		addr = addr.Unmap()
		if i--; i < 0 || !contains(trusted, addr) {
			return addr.String()
		}
		hop, ok := hopAddress(hops[i])
		if !ok {
			return addr.String() // what the proxy passed on is no address
		}
		peer = hop.String()
	}
}

// hopAddress reads an address as proxies write it: 203.0.113.7, 203.0.113.7:51234, 2001:db8::1, [2001:db8::1], or
// [2001:db8::1]:443, with space or quotes around it.
func hopAddress(text string) (netip.Addr, bool) {
	text = strings.Trim(text, " \t\"")
	if addr, err := netip.ParseAddr(text); err == nil {
		return addr, true
	}
	if port, err := netip.ParseAddrPort(text); err == nil {
		return port.Addr(), true
	}
	if inner, ok := strings.CutPrefix(text, "["); ok && strings.HasSuffix(inner, "]") {
		addr, err := netip.ParseAddr(strings.TrimSuffix(inner, "]"))
		return addr, err == nil && addr.Is6()
	}
	return netip.Addr{}, false
}

// forwardedHops returns the for parameter of each element of Forwarded (RFC 7239, section 4), or "" if it has none. A
// quoted string with a comma or semicolon is no address, so it ends the chain wherever it is cut.
func forwardedHops(headers []string) (hops []string) {
	for element := range strings.SplitSeq(strings.Join(headers, ","), ",") {
		hop := ""
		for pair := range strings.SplitSeq(element, ";") {
			name, value, _ := strings.Cut(pair, "=")
			if strings.EqualFold(strings.TrimSpace(name), "for") {
				hop = value
			}
		}
		hops = append(hops, hop)
	}
	return hops
}

func contains(prefixes []netip.Prefix, addr netip.Addr) bool {
	for _, p := range prefixes {
		if p.Contains(addr) {
			return true
		}
	}
	return false
}
