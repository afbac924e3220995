package handlers

import (
	"sync"
	"time"

	"github.com/architus/guildcast/event"
)

// complaint is what a line in the log is about: an unknown kind must not keep the first malformed message out of it.
type complaint struct {
	topic event.Topic
	fault fault
}

type fault uint8

const (
	malformedEvent fault = iota
	unknownKind
)

// complaints keeps the log from what publishers do wrong: one line per topic, fault and minute.
type complaints struct {
	mu   sync.Mutex
	last map[complaint]time.Time // at most maxComplaints
}

const (
	maxComplaints     = 1024 // complaints made in a minute; more are counted only
	complaintInterval = time.Minute
)

func (c *complaints) allow(about complaint, now time.Time) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if last, ok := c.last[about]; ok && now.Sub(last) < complaintInterval {
		return false
	}
	if len(c.last) >= maxComplaints {
		for old, last := range c.last {
			if now.Sub(last) >= complaintInterval {
				delete(c.last, old)
			}
		}
		if len(c.last) >= maxComplaints {
			return false
		}
	}
	if c.last == nil {
		c.last = map[complaint]time.Time{}
	}
	c.last[about] = now
	return true
}
