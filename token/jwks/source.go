// Package jwks keeps the public keys of a token issuer at hand: a JSON Web Key Set (RFC 7517) from a URL or a file.
package jwks

import (
	"cmp"
	"context"
	"crypto"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/url"
	"os"
	"sync"
	"time"

	"github.com/architus/guildcast/internal/defaults"
	"github.com/architus/guildcast/internal/service"
	"github.com/architus/guildcast/internal/throttle"
	"github.com/architus/guildcast/internal/wake"
	"github.com/architus/guildcast/token"
)

// Options configure a Source. The zero value works.
type Options struct {
	// Refresh is the time between two readings; 0 means 15 minutes.
	Refresh time.Duration

	// MinInterval is the least time between two readings, however many tokens come with keys that are not in the set; 0
	// means 5 seconds.
	MinInterval time.Duration

	// Timeout of one reading; 0 means 5 seconds.
	Timeout time.Duration

	// Client fetches URLs; nil means a client of the Source's own.
	Client *http.Client

	// Logger receives a warning once a minute if readings go wrong, and one for each key that is left out of the set,
	// once and with the reason; nil discards.
	Logger *slog.Logger
}

// maxBytes bounds a key set.
const maxBytes = 1 << 20

// Source is one key set. It is read when Run starts, from time to time, and when a token comes with a key that it does
// not hold, never twice at once and never more often than MinInterval. If a reading goes wrong the keys of the last
// good one stay in use.
//
// It implements token.KeySource. All methods may be called concurrently.
type Source struct {
	location string
	isFile   bool
	o        Options
	want     wake.Signal // sent by PublicKeys, read by Run; one waiting wish is enough for all

	life  service.Life
	lines throttle.Minutely[string]

	told map[omission]bool // the keys that the last good reading left out; used by New and, after it, by Run only

	mu      sync.Mutex
	keys    []key         // guarded by mu; replaced, never changed
	loaded  bool          // guarded by mu; a reading went well at some time
	err     error         // guarded by mu; of the last reading
	attempt time.Time     // guarded by mu; when the last reading ended
	ended   bool          // guarded by mu; Run has ended
	next    chan struct{} // guarded by mu; closed by Run at the end of the next reading, then replaced
}

// New returns a source of the key set at location, an http or https URL or else the path of a file. A file must be
// there and hold a key set; of a URL nothing is read yet, since its server may come up after us.
func New(location string, o Options) (*Source, error) {
	s := &Source{location: location, o: o, want: wake.New(), next: make(chan struct{})}
	u, err := url.Parse(location)
	switch {
	case location == "":
		return nil, errors.New("the location of the key set is empty")
	case err == nil && (u.Scheme == "http" || u.Scheme == "https"):
		if u.Host == "" {
			return nil, fmt.Errorf("the key set's URL %q has no host", location)
		}
	case err == nil && len(u.Scheme) > 1:
		return nil, fmt.Errorf("the key set's URL must be http or https, not %q", u.Scheme)
	default:
		s.isFile = true
	}
	s.o.Refresh = defaults.Positive(o.Refresh, 15*time.Minute)
	s.o.MinInterval = defaults.Positive(o.MinInterval, 5*time.Second)
	s.o.Timeout = defaults.Positive(o.Timeout, 5*time.Second)
	s.o.Logger = cmp.Or(o.Logger, slog.New(slog.DiscardHandler))
	if s.o.Client == nil {
		s.o.Client = &http.Client{Transport: &http.Transport{
			Proxy: http.ProxyFromEnvironment, MaxIdleConns: 1, IdleConnTimeout: 10 * time.Second,
		}}
	}
	if s.isFile {
		keys, err := s.load(context.Background())
		if err != nil {
			return nil, fmt.Errorf("read the key set: %w", err)
		}
		s.keys, s.loaded = keys, true
	}
	return s, nil
}

// Run reads the key set until ctx ends, and returns nil then. It may be called once.
func (s *Source) Run(ctx context.Context) error {
	if err := s.life.Begin(); err != nil {
		return fmt.Errorf("run key set: %w", err)
	}
	defer s.end()
	for {
		s.read(ctx)
		refresh := time.NewTimer(s.o.Refresh)
		select {
		case <-ctx.Done():
		case <-refresh.C:
		case <-s.want:
		}
		refresh.Stop()
		if ctx.Err() != nil {
			return nil
		}
	}
}

// Refresh makes Run read the key set at once.
func (s *Source) Refresh() { s.want.Send() }

// Read reads the key set, and returns why it can't be read. It may be called before Run only.
func (s *Source) Read(ctx context.Context) error {
	s.read(ctx)
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.err
}

// end releases the callers that wait for a reading that will not come.
func (s *Source) end() {
	s.o.Client.CloseIdleConnections()
	s.mu.Lock()
	defer s.mu.Unlock()
	s.ended, s.err = true, service.ErrEnded
	close(s.next)
}

// PublicKeys implements token.KeySource. If the set does not hold the key, it waits for a new reading, unless the last
// one is too fresh. Before Run it waits as long as two readings may take; once Run has ended it knows the keys that it
// has.
func (s *Source) PublicKeys(ctx context.Context, kid, alg string) ([]crypto.PublicKey, error) {
	ctx, cancel := context.WithTimeout(ctx, 2*s.o.Timeout)
	defer cancel()
	s.mu.Lock()
	keys, next, err, loaded := s.keys, s.next, s.err, s.loaded
	found := find(keys, kid, alg)
	again := len(found) == 0 && !s.ended && (s.attempt.IsZero() || time.Since(s.attempt) >= s.o.MinInterval)
	if again {
		s.want.Send() // with the lock, so that the wish and next belong to the same reading
	}
	s.mu.Unlock()
	if again {
		select {
		case <-next:
		case <-ctx.Done():
			return nil, fmt.Errorf("%w: %w", token.ErrKeysUnavailable, ctx.Err())
		}
		s.mu.Lock()
		keys, err, loaded = s.keys, s.err, s.loaded
		s.mu.Unlock()
		found = find(keys, kid, alg)
	}
	switch {
	case len(found) > 0:
		return found, nil
	case err != nil || !loaded: // the key may be in the set that could not be read
		return nil, fmt.Errorf("%w: %w", token.ErrKeysUnavailable, err)
	}
	return nil, errors.New("the issuer has no such key")
}

// read reads the set once and releases the callers that wait for it.
func (s *Source) read(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, s.o.Timeout)
	defer cancel()
	keys, err := s.load(ctx)
	s.mu.Lock()
	if s.err = err; err == nil {
		s.keys, s.loaded = keys, true
	}
	s.attempt = time.Now()
	select { // whoever wished for a reading since this one began gets this one
	case <-s.want:
	default:
	}
	close(s.next)
	s.next = make(chan struct{})
	s.mu.Unlock()
	if err != nil && s.lines.Allow("unread") {
		s.o.Logger.Warn("token issuer's keys could not be read", "location", s.location, "err", err)
	}
}

func (s *Source) load(ctx context.Context) ([]key, error) {
	data, err := s.fetch(ctx)
	if err != nil {
		return nil, err
	}
	keys, omitted, err := parse(data)
	if err == nil {
		s.tell(omitted)
	}
	return keys, err
}

// maxTold bounds the warnings of one reading: a set may hold more odd keys than anybody wants to read of.
const maxTold = 20

// tell logs the keys that are left out, unless the reading before left them out for the same reason.
func (s *Source) tell(omitted []omission) {
	known := map[omission]bool{}
	told := 0
	for _, o := range omitted {
		if !known[o] && !s.told[o] {
			if told++; told <= maxTold {
				s.o.Logger.Warn("a key of the token issuer is left out", "location", s.location, "key", o.name,
					"reason", o.reason)
			}
		}
		known[o] = true
	}
	if told > maxTold {
		s.o.Logger.Warn("more keys of the token issuer are left out", "location", s.location, "keys", told-maxTold)
	}
	s.told = known
}

func (s *Source) fetch(ctx context.Context) ([]byte, error) {
	var body io.ReadCloser
	if s.isFile {
		file, err := os.Open(s.location)
		if err != nil {
			return nil, err
		}
		body = file
	} else {
		request, err := http.NewRequestWithContext(ctx, http.MethodGet, s.location, nil)
		if err != nil {
			return nil, err
		}
		response, err := s.o.Client.Do(request)
		if err != nil {
			return nil, err
		}
		body = response.Body
		if response.StatusCode != http.StatusOK {
			body.Close()
			return nil, fmt.Errorf("status %s", response.Status)
		}
	}
	defer body.Close()
	data, err := io.ReadAll(io.LimitReader(body, maxBytes+1))
	if err == nil && len(data) > maxBytes {
		err = errors.New("the key set is too large")
	}
	return data, err
}
