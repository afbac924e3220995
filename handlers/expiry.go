package handlers

import (
	"time"

	"github.com/architus/guildcast/permissions"
)

// expiringBody is the payload of elevation_expiring.
type expiringBody struct {
	ExpiresAt int64 `json:"expires_at"`
}

// alarm is the timer of an elevation. It rings before the claims expire, and again when they do. It costs no goroutine
// while it waits. The zero value is stopped.
type alarm struct {
	timer  *time.Timer
	setups uint64 // tells this set-up's rings from one of an earlier set-up that was under way
	warned bool

	warning time.Duration // how long before the claims expire the client is warned
}

func (a *alarm) stop() {
	if a.timer != nil {
		a.timer.Stop()
	}
	a.timer = nil
	a.setups++
	a.warned = false
}

// schedule sets the alarm for claims. The turn is held.
func (s *session) schedule(c *permissions.Claims) {
	s.alarm.stop()
	left := time.Until(c.ExpiresAt)
	s.alarm.warning = min(s.gateway.config.ExpiryWarning, left/2)
	s.ringIn(left - s.alarm.warning)
}

// clockLook is how often an elevated session checks the wall clock. It may jump ahead of timers: if a virtual machine
// resumes, or if somebody sets the clock.
const clockLook = 25 * time.Second

// ringIn sets the timer to d or, if that is sooner, to clockLook.
func (s *session) ringIn(d time.Duration) {
	d = min(d, clockLook)
	setup := s.alarm.setups
	s.alarm.timer = time.AfterFunc(d, func() {
		if s.gateway.begin() {
			defer s.gateway.goroutines.Done()
			if s.ring(setup) {
				s.peer.Conn().Close(false) // without the turn, which the end of the session takes
			}
		}
	})
}

// ring warns the client or ends the elevation, if the wall clock says that it is time. It reports whether the
// connection should close, for the first dashboard to connect again with a newer cookie.
func (s *session) ring(setup uint64) (hangUp bool) {
	s.take()
	defer s.give()
	c := s.claims.Load()
	if c == nil || setup != s.alarm.setups {
		return false
	}
	if c.Expired(time.Now()) {
		s.emit(eventElevationExpired, s.form, s.demote(reasonExpired, errTokenExpired(), nil))
		return c == s.cookie
	}
	left := time.Until(c.ExpiresAt)
	if left > s.alarm.warning {
		s.ringIn(left - s.alarm.warning)
		return false
	}
	if !s.alarm.warned {
		s.alarm.warned = true
		s.emit(eventElevationExpiring, s.form, encode(expiringBody{c.ExpiresAt.Unix()}))
	}
	s.ringIn(left) // also if the wall clock was set back meanwhile
	return false
}
