package handlers

import (
	"sync"

	"github.com/architus/guildcast/permissions"
)

// bearers finds elevated sessions by user and by token id, so that a revocation costs only what it hits.
type bearers struct {
	mu    sync.Mutex
	lists [2]map[string][]*bearer // guarded by mu; by user, and by token id; no empty lists
}

// bearer is a session with one of its tokens. During a refresh a session has two.
type bearer struct {
	session *session
	names   [2]string // the user and the token id; "" if there is none
	at      [2]int    // guarded by bearers.mu; the indexes in the lists of names
}

func newBearers() *bearers {
	return &bearers{lists: [2]map[string][]*bearer{{}, {}}}
}

func (x *bearers) add(s *session, c *permissions.Claims) *bearer {
	b := &bearer{session: s, names: [2]string{c.Subject, c.TokenID}}
	x.mu.Lock()
	defer x.mu.Unlock()
	for i, name := range b.names {
		if name != "" {
			b.at[i] = len(x.lists[i][name])
			x.lists[i][name] = append(x.lists[i][name], b)
		}
	}
	return b
}

// remove removes b, which may be nil.
func (x *bearers) remove(b *bearer) {
	if b == nil {
		return
	}
	x.mu.Lock()
	defer x.mu.Unlock()
	for i, name := range b.names {
		if name == "" {
			continue
		}
		list := x.lists[i][name]
		last := list[len(list)-1]
		list[b.at[i]], last.at[i] = last, b.at[i]
		list[len(list)-1] = nil
		if list = list[:len(list)-1]; len(list) == 0 {
			delete(x.lists[i], name)
			continue
		}
		x.lists[i][name] = list
	}
}

// of returns the sessions that may bear a token that r revokes.
func (x *bearers) of(r permissions.Revocation) []*session {
	x.mu.Lock()
	defer x.mu.Unlock()
	list := x.lists[0][r.Subject]
	if r.TokenID != "" {
		list = x.lists[1][r.TokenID]
	}
	var found []*session
	for _, b := range list {
		found = append(found, b.session)
	}
	return found
}
