package traffic

import (
	"encoding/json"
	"fmt"
	"sync"
)

// Session checks the traffic of one client. It expects what a node refuses as malformed to be wrong by the schemas too,
// and what it answers to be right: so a test may send what is wrong, and the schemas can't be laxer or stricter than
// nodes are. All methods may be called concurrently.
type Session struct {
	mu   sync.Mutex
	sent map[string][]error // requests that wait for their answer, by keyOf: what is wrong with each
}

// NewSession returns the session of a client.
func NewSession() *Session { return &Session{sent: map[string][]error{}} }

// Request notes an event that the client sends. It must be called before it is sent.
func (s *Session) Request(name string, args []json.RawMessage) {
	if e := protocol().events[name]; !e.fromClient {
		return // nodes ignore it
	}
	wrong := Request(name, args)
	var fields struct {
		ID json.RawMessage `json:"_id"`
	}
	if len(args) > 0 {
		_ = json.Unmarshal(inner(args[0]), &fields) // what is no object has no _id
	}
	key := keyOf(name, fields.ID)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.sent[key] = append(s.sent[key], wrong)
}

// Event checks an event that the node has sent.
func (s *Session) Event(name string, args []json.RawMessage) error {
	if err := Event(name, args); err != nil {
		return err
	}
	if _, known := protocol().events[name]; !known {
		return nil
	}
	var a answer
	if json.Unmarshal(inner(args[0]), &a) != nil {
		return nil // a guild event may be anything
	}
	request := a.request(name)
	if request == "" {
		return nil
	}
	wrong, known := s.take(request, a.ID)
	if !known {
		return nil
	}
	return agree(request, wrong, args[0])
}

// take removes the oldest request with this _id and returns what is wrong with it. That is not known if nobody waits
// for an answer, or if it may be the answer to another request.
func (s *Session) take(name string, id json.RawMessage) (wrong error, known bool) {
	key := keyOf(name, id)
	s.mu.Lock()
	defer s.mu.Unlock()
	list := s.sent[key]
	if len(list) == 0 {
		return nil, false
	}
	s.sent[key] = list[1:]
	if name == "pool" || name == "interpret" { // whose answers may overtake each other
		for _, other := range list[1:] {
			if (other == nil) != (list[0] == nil) {
				return nil, false
			}
		}
	}
	return list[0], true
}

// keyOf returns the key of a request. An _id that is neither a number nor a string is none.
func keyOf(name string, id json.RawMessage) string {
	var v any
	_ = json.Unmarshal(id, &v)
	switch v.(type) {
	case string, float64:
		return fmt.Sprintf("%s %v", name, v)
	}
	return name
}

// answer is what says whether a payload is the last answer to a request, and to which.
type answer struct {
	ID       json.RawMessage `json:"_id"`
	Finished bool
	Reason   string
	Context  []string
}

// request returns the event that a payload answers, or "".
func (a *answer) request(name string) string {
	switch {
	case name == "request_elevation_return":
		return "request_elevation"
	case name == "spectate_return":
		return "spectate"
	case name == "interpret_response":
		return "interpret"
	case name == "pool_response" && a.Finished:
		return "pool"
	case name == "elevation_expired" && a.Reason == "demoted":
		return "demote"
	case name == "error" && len(a.Context) == 1 && a.Context[0] != "request_elevation": // which has its own answer
		return a.Context[0]
	}
	return ""
}
