package forward

import (
	"context"
	"net/http"
	"net/url"
	"sync"
	"time"
)

// methodRelease is that of the request, signed as all are, by which a node that ends has a poll answered that it has
// passed on. Were it cut, the owner would take the client for gone.
const methodRelease = "RELEASE"

// drainStep is the pause between two lots of what is ended.
const drainStep = 100 * time.Millisecond

// poll is one that was passed on.
type poll struct{ node, sid string }

// polls are those that wait.
type polls struct {
	mu  sync.Mutex
	all map[*poll]struct{} // guarded by mu
}

func (s *polls) add(p *poll) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.all == nil {
		s.all = map[*poll]struct{}{}
	}
	s.all[p] = struct{}{}
}

func (s *polls) remove(p *poll) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.all, p)
}

// share returns one in n of them, one at least if there are any.
func (s *polls) share(n int) (some []*poll) {
	s.mu.Lock()
	defer s.mu.Unlock()
	n = (len(s.all) + n - 1) / n
	for p := range s.all {
		if len(some) == n {
			break
		}
		some = append(some, p)
	}
	return some
}

// release has the owner answer a poll. If that does not come about, the poll waits on.
func (f *Forwarder) release(ctx context.Context, p *poll) {
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	owner, err := f.registry.find(ctx, p.node)
	if err != nil {
		return
	}
	uri := "/?sid=" + url.QueryEscape(p.sid)
	r, err := http.NewRequestWithContext(ctx, methodRelease, owner.target.String()+Path+uri, nil)
	if err != nil {
		return
	}
	r.Header.Set(header, f.signer.sign(p.node, methodRelease, uri, ""))
	if response, err := owner.transport.RoundTrip(r); err == nil {
		_ = response.Body.Close()
	}
}
