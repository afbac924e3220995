package handlers

import (
	"net/netip"
	"strings"
	"testing"
)

func TestForwardedFor(t *testing.T) {
	trusted := []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8"), netip.MustParsePrefix("::1/128")}
	for _, tt := range []struct {
		name, peer string
		headers    []string
		want       string
	}{
		{"no proxy", "192.0.2.1", nil, "192.0.2.1"},
		{"a stranger's header", "192.0.2.1", []string{"198.51.100.1"}, "192.0.2.1"},
		{"one proxy", "10.0.0.1", []string{"198.51.100.1"}, "198.51.100.1"},
		{"mapped", "::ffff:10.0.0.1", []string{"198.51.100.1"}, "198.51.100.1"},
		{"two proxies", "10.0.0.1", []string{"198.51.100.1, 10.0.0.2"}, "198.51.100.1"},
		{"what the client wrote", "10.0.0.1", []string{"203.0.113.9, 198.51.100.1"}, "198.51.100.1"},
		{"two headers", "10.0.0.1", []string{"198.51.100.1", "10.0.0.2"}, "198.51.100.1"},
		{"no header", "10.0.0.1", nil, "10.0.0.1"},
		{"garbage", "10.0.0.1", []string{"unknown"}, "10.0.0.1"},
		{"IPv6", "::1", []string{"2001:db8:1:2:3::4"}, "2001:db8:1:2::/64"},
		{"IPv4 with a port", "10.0.0.1", []string{"198.51.100.1:51234, 10.0.0.2:80"}, "198.51.100.1"},
		{"IPv6 with a port", "10.0.0.1", []string{"[2001:db8:1:2:3::4]:443"}, "2001:db8:1:2::/64"},
		{"IPv6 in brackets", "10.0.0.1", []string{"[2001:db8:1:2:3::4]"}, "2001:db8:1:2::/64"},
		{"IPv4 in brackets", "10.0.0.1", []string{"[198.51.100.1]"}, "10.0.0.1"},
		{"Forwarded", "10.0.0.1",
			forwardedHops([]string{`for=192.0.2.9, FOR="198.51.100.1:4711";proto=https;by=10.0.0.1`, `For=10.0.0.2`}),
			"198.51.100.1"},
		{"Forwarded IPv6", "10.0.0.1", forwardedHops([]string{`proto=https; for="[2001:db8:1:2:3::4]:443"`}),
			"2001:db8:1:2::/64"},
		{"Forwarded, obfuscated", "10.0.0.1", forwardedHops([]string{`for=192.0.2.9, for=_hidden`}), "10.0.0.1"},
		{"Forwarded without for", "10.0.0.1", forwardedHops([]string{`proto=https`}), "10.0.0.1"},
		{"no address", "pipe", []string{"198.51.100.1"}, "pipe"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			hops := strings.Split(strings.Join(tt.headers, ","), ",")
			if got := addressKey(forwardedFor(tt.peer, hops, trusted)); got != tt.want {
				t.Errorf("got %q, want %q", got, tt.want)
			}
		})
	}
}
