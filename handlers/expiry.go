package handlers

import (
	"time"

	"github.com/architus/guildcast/permissions"
)

// expiringBody is the payload of elevation_expiring.
type expiringBody struct {
	ExpiresAt int64 `json:"expires_at"`
}

// alarm is the timer of an elevation: it rings before the claims expire, and when they do. A timer that waits costs no
// goroutine. The zero value is stopped.
type alarm struct {
	timer  *time.Timer
	setups uint64 // tells a ring of this set-up from one that was already under way when it was replaced
	warned bool

	warning time.Duration // how long before the end the client is warned
}

func (a *alarm) stop() {
	if a.timer != nil {
		a.timer.Stop()
	}
	a.timer = nil
	a.setups++
	a.warned = false
}

// schedule sets the alarm for c. The turn is held.
func (s *session) schedule(c *permissions.Claims) {
	s.alarm.stop()
	left := time.Until(c.ExpiresAt)
	s.alarm.warning = min(s.gateway.config.ExpiryWarning, left/2)
	s.ringIn(left - s.alarm.warning)
}

// clockLook is how often a session with an elevation looks at the wall clock, which may jump ahead of the timer's: when a
// virtual machine resumes, or when the clock is set.
const clockLook = 25 * time.Second

// ringIn rings after d, or after clockLook if that is sooner.
func (s *session) ringIn(d time.Duration) {
	d = min(d, clockLook)
	setup := s.alarm.setups
	s.alarm.timer = time.AfterFunc(d, func() {
		if s.gateway.begin() {
			defer s.gateway.goroutines.Done()
			s.ring(setup)
		}
	})
}

// ring warns, or ends the elevation, if it is time by the wall clock.
func (s *session) ring(setup uint64) {
	s.take()
	defer s.give()
	c := s.claims.Load()
	if c == nil || setup != s.alarm.setups {
		return
	}
	if c.Expired(time.Now()) {
		s.emit(eventElevationExpired, s.form, s.demote(reasonExpired, errTokenExpired(), nil))
		return
	}
	left := time.Until(c.ExpiresAt)
	if left > s.alarm.warning {
		s.ringIn(left - s.alarm.warning)
		return
	}
	if !s.alarm.warned {
		s.alarm.warned = true
		s.emit(eventElevationExpiring, s.form, encode(expiringBody{c.ExpiresAt.Unix()}))
	}
	s.ringIn(left) // again, too, if the wall clock was set back meanwhile
}
