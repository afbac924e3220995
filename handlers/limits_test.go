package handlers

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/architus/guildcast/event"
)

func TestLimitersForgetNobodyInUse(t *testing.T) {
	l := newLimiters(0.001, 2, 8)
	now := map[string]int{}
	for i := range 1000 {
		if l.allow("steady") {
			now["steady"]++
		}
		l.allow(fmt.Sprint(i)) // strangers
		if n := len(l.young) + len(l.old); n > 8 {
			t.Fatalf("%d buckets are held", n)
		}
	}
	if now["steady"] > 2 {
		t.Fatalf("a key in use was allowed %d times: it was forgotten", now["steady"])
	}
}

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
		{"Forwarded", "10.0.0.1", forwardedHops([]string{`for=192.0.2.9, FOR="198.51.100.1:4711";proto=https;by=10.0.0.1`, `For=10.0.0.2`}), "198.51.100.1"},
		{"Forwarded IPv6", "10.0.0.1", forwardedHops([]string{`proto=https; for="[2001:db8:1:2:3::4]:443"`}), "2001:db8:1:2::/64"},
		{"Forwarded, obfuscated", "10.0.0.1", forwardedHops([]string{`for=192.0.2.9, for=_hidden`}), "10.0.0.1"},
		{"Forwarded without for", "10.0.0.1", forwardedHops([]string{`proto=https`}), "10.0.0.1"},
		{"no address", "pipe", []string{"198.51.100.1"}, "pipe"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if got := addressKey(forwardedFor(tt.peer, strings.Split(strings.Join(tt.headers, ","), ","), trusted)); got != tt.want {
				t.Errorf("got %q, want %q", got, tt.want)
			}
		})
	}
}

func TestFlights(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFlights()
		early, other := f.begin("1"), f.begin("2")
		waited := false
		go func() {
			f.wait("1")
			waited = true
		}()
		synctest.Wait()
		late := f.begin("1") // began after the wait: it doesn't count
		if waited {
			t.Fatal("did not wait")
		}
		f.end(early)
		synctest.Wait()
		if !waited {
			t.Fatal("waits for another guild's delivery, or for one that began later")
		}
		f.end(late)
		f.end(other)
		f.wait("1")
		f.wait("2")
		if len(f.list) != 0 {
			t.Fatalf("%v are left", f.list)
		}
	})
}

func TestComplaints(t *testing.T) {
	var c complaints
	now := time.Now()
	about := complaint{event.Topic{Guild: "1"}, malformedEvent}
	if !c.allow(about, now) || c.allow(about, now.Add(59*time.Second)) || !c.allow(about, now.Add(time.Minute)) {
		t.Fatal("not one a minute")
	}
	if !c.allow(complaint{event.Topic{Guild: "1", Logs: true}, malformedEvent}, now) {
		t.Fatal("topics share their line")
	}
	if !c.allow(complaint{about.topic, unknownKind}, now) {
		t.Fatal("an unknown kind and a malformed message share their line")
	}
	for i := range 10 * maxComplaints {
		c.allow(complaint{topic: event.Topic{Guild: fmt.Sprint(i)}}, now)
	}
	if len(c.last) > maxComplaints {
		t.Fatalf("%d complaints are remembered", len(c.last))
	}
	if !c.allow(about, now.Add(time.Hour)) {
		t.Fatal("full for ever")
	}
}
