package adapter

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/architus/guildcast/bus"
)

// ErrClosed is the error of calls on the adapter of a closed namespace or server.
var ErrClosed = errors.New("adapter is closed")

// ErrLeft is the Cause of an IncompleteError if the servers that did not answer have left the cluster.
var ErrLeft = errors.New("servers have left")

// errTooMany reports that maxPending other requests wait for answers.
var errTooMany = errors.New("too many requests are waiting for answers")

// IncompleteError reports that some servers of the cluster, or some clients, did not answer a request in time, or that
// not all servers could be counted. A call returns it together with the answers of the others.
type IncompleteError struct {
	// Op is the operation that was requested.
	Op string
	// Got and Want count servers beside this one.
	Got, Want int
	// Clients is the number of clients that did not acknowledge an event, on this server and those that answered.
	Clients int
	// After is how long the request waited.
	After time.Duration
	// Missing are the ids of servers that are subscribed and did not answer. It can have too many ids, because Node.js
	// servers do not sign their answers, and too few if a server has left meanwhile.
	Missing []string
	// Cause is why the wait ended: context.DeadlineExceeded, context.Canceled, ErrClosed, or, before the deadline,
	// ErrLeft. It wraps bus.ErrPartial if all servers have answered that were counted, but a server of a Redis Cluster
	// was silent: there may be more.
	Cause error
}

func (e *IncompleteError) Error() string {
	s := fmt.Sprintf("%s: %d of %d servers answered within %v", e.Op, e.Got, e.Want, e.After.Round(time.Millisecond))
	if e.Want > e.Got {
		s += fmt.Sprintf(", %d missing", e.Want-e.Got)
	}
	switch {
	case len(e.Missing) > e.Want-e.Got:
		s += " of " + strings.Join(e.Missing, ", ")
	case len(e.Missing) > 0:
		s += ": " + strings.Join(e.Missing, ", ")
	}
	if e.Clients > 0 {
		s += fmt.Sprintf("; clients that did not acknowledge: %d", e.Clients)
	}
	if errors.Is(e.Cause, bus.ErrPartial) {
		s += "; there may be more: " + e.Cause.Error()
	}
	return s
}

// Unwrap returns the cause.
func (e *IncompleteError) Unwrap() error { return e.Cause }
