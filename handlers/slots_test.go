package handlers

import (
	"strconv"
	"testing"

	"github.com/architus/guildcast/permissions"
)

func TestSlots(t *testing.T) {
	x := newSlots(Limits{NodeRequests: 40, AddressRequests: 4, UserRequests: 12}.withDefaults())
	of := func(address, user string) *session {
		s := &session{address: address}
		if user != "" {
			s.claims.Store(&permissions.Claims{Subject: user})
		}
		return s
	}
	fill := func(s *session, bytes int) (list []func()) {
		for slot := x.take(s, bytes); slot != nil; slot = x.take(s, bytes) {
			list = append(list, slot.give)
		}
		return list
	}
	given := fill(of("a", ""), 1)
	for _, tt := range []struct {
		name, address, user string
		bytes, want         int
	}{
		{"another address", "b", "", 1, 4},
		{"what is left for addresses", "c", "", 1, 2},
		{"a user at a flooding address", "a", "u", 1, 12},
		{"another user", "a", "v", 1, 12},
		{"what is left for users", "b", "w", 1, 6},
	} {
		list := fill(of(tt.address, tt.user), tt.bytes)
		given = append(given, list...)
		if len(list) != tt.want {
			t.Errorf("%s: %d slots, want %d", tt.name, len(list), tt.want)
		}
	}
	if len(given) != x.inProgress() || len(given) != 40 {
		t.Fatalf("%d are taken, %d counted", len(given), x.inProgress())
	}
	for _, give := range given {
		give()
	}
	if x.inProgress() != 0 || len(x.anonymous.of)+len(x.elevated.of) != 0 ||
		x.anonymous.used.bytes+x.elevated.used.bytes != 0 {
		t.Fatal("slots are left taken")
	}
	if n := len(fill(of("a", ""), DefaultLimits().AddressBytes/2)); n != 2 {
		t.Errorf("%d requests of half of the bytes", n)
	}
	if n := len(fill(of("b", ""), DefaultLimits().AddressBytes*2)); n != 1 {
		t.Errorf("%d requests of twice the bytes", n)
	}
}

// Many addresses with one request each do not exceed the common bound.
func TestSlotsBoundBytesOfManyAddresses(t *testing.T) {
	x := newSlots(Limits{NodeRequests: -1, AddressRequests: -1, UserRequests: -1}.withDefaults())
	const each = 1 << 20
	var gives []func()
	for i := range 1000 {
		if slot := x.take(&session{address: strconv.Itoa(i)}, each); slot != nil {
			gives = append(gives, slot.give)
		}
	}
	if held := len(gives) * each; held != DefaultLimits().AnonymousBytes {
		t.Fatalf("%d bytes are held, want %d", held, DefaultLimits().AnonymousBytes)
	}
	for _, give := range gives {
		give()
	}
	if x.inProgress() != 0 || x.anonymous.used.bytes != 0 || len(x.anonymous.of) != 0 {
		t.Fatalf("after all were given back: %+v", x.anonymous)
	}
	if x.take(&session{address: "a"}, DefaultLimits().AnonymousBytes+1) == nil {
		t.Error("a request that is alone does not fit")
	}
}
