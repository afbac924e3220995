package redisurl

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net"
	"strconv"
	"sync"
	"time"

	goredis "github.com/redis/go-redis/v9"
)

const (
	sentinelTime  = time.Second            // for one Sentinel to answer
	sentinelGrace = 250 * time.Millisecond // for the others, after the first
	sentinelFind  = 10 * time.Second       // between questions for further Sentinels
)

// sentinels find the primary. They ask all Sentinels at once and believe the one with the newest configuration, since
// one that was cut off from the others has an old one. go-redis asks one Sentinel for as long as it answers, and waits
// for it if it does not.
type sentinels struct {
	// Static after construction.
	primary string // its name
	options goredis.Options
	ctx     context.Context // ends with close
	cancel  context.CancelFunc

	wg sync.WaitGroup // questions; Add only under mu while not closed

	// Guarded by mu.
	mu      sync.Mutex
	closed  bool
	clients map[string]*goredis.SentinelClient // by address: those of the URL, and those that they name
	found   time.Time                          // when they were last asked for others
}

// answer is what one Sentinel says.
type answer struct {
	addr  string
	epoch int64 // of its configuration; -1 if it does not say
	err   error
}

func newSentinels(o *goredis.UniversalOptions, d *dialer) *sentinels {
	s := &sentinels{
		primary: o.MasterName, clients: map[string]*goredis.SentinelClient{},
		options: goredis.Options{
			Username: o.SentinelUsername, Password: o.SentinelPassword, Dialer: d.dial, Protocol: 2,
			DisableIdentity: true,
			DialTimeout:     sentinelTime, ReadTimeout: sentinelTime, WriteTimeout: sentinelTime,
			ContextTimeoutEnabled: true,
			DialerRetries:         1, MaxRetries: 1, PoolSize: 4,
		},
	}
	s.ctx, s.cancel = context.WithCancel(context.Background())
	for _, addr := range o.Addrs {
		s.addLocked(addr)
	}
	return s
}

func (s *sentinels) addLocked(addr string) {
	if s.clients[addr] == nil {
		o := s.options
		o.Addr = addr
		s.clients[addr] = goredis.NewSentinelClient(&o)
	}
}

// addr returns where the primary is.
func (s *sentinels) addr(ctx context.Context) (string, error) {
	answers, n := s.ask()
	var best *answer
	var errs []error
	var grace <-chan time.Time
	for range n {
		select {
		case a := <-answers:
			if a.err != nil {
				errs = append(errs, a.err)
				continue
			}
			if grace == nil {
				grace = time.After(sentinelGrace)
			}
			if best == nil || a.epoch > best.epoch {
				best = &a
			}
			continue
		case <-grace:
		case <-ctx.Done():
			errs = append(errs, ctx.Err())
		}
		break
	}
	if best == nil {
		return "", fmt.Errorf("ask sentinels for %q: %w", s.primary, errors.Join(errs...))
	}
	return best.addr, nil
}

// ask asks all. As many answers come as it says.
func (s *sentinels) ask() (<-chan answer, int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	answers := make(chan answer, len(s.clients))
	if s.closed {
		answers <- answer{err: net.ErrClosed}
		return answers, 1
	}
	find := time.Since(s.found) > sentinelFind
	if find {
		s.found = time.Now()
	}
	for addr, c := range s.clients {
		s.wg.Go(func() {
			ctx, cancel := context.WithTimeout(s.ctx, sentinelTime)
			defer cancel()
			a := s.askOne(ctx, c)
			if a.err != nil {
				a.err = fmt.Errorf("%s: %w", addr, a.err)
			}
			answers <- a
			if find && a.err == nil {
				s.find(ctx, c)
			}
		})
	}
	return answers, len(s.clients)
}

func (s *sentinels) askOne(ctx context.Context, c *goredis.SentinelClient) answer {
	at, err := c.GetMasterAddrByName(ctx, s.primary).Result()
	switch {
	case errors.Is(err, goredis.Nil):
		return answer{err: errors.New("no primary of that name")}
	case err != nil:
		return answer{err: err}
	case len(at) != 2:
		return answer{err: fmt.Errorf("unexpected answer %.100q", at)}
	}
	a := answer{addr: net.JoinHostPort(at[0], at[1]), epoch: -1}
	// Refused by an ACL, it counts less than any other.
	if n, err := strconv.ParseInt(c.Master(ctx, s.primary).Val()["config-epoch"], 10, 64); err == nil {
		a.epoch = n
	}
	return a
}

// find takes in the other Sentinels that one knows. Those that can't be reached from here hold nobody up.
func (s *sentinels) find(ctx context.Context, c *goredis.SentinelClient) {
	others := c.Sentinels(ctx, s.primary).Val()
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, o := range others {
		if o["ip"] != "" && o["port"] != "" && !s.closed && len(s.clients) < maxSentinels {
			s.addLocked(net.JoinHostPort(o["ip"], o["port"]))
		}
	}
}

// maxSentinels bounds those that are asked; more are never needed.
const maxSentinels = 16

// dialer dials the primary, whatever the address.
func (s *sentinels) dialer(d *dialer) func(context.Context, string, string) (net.Conn, error) {
	return func(ctx context.Context, network, _ string) (net.Conn, error) {
		addr, err := s.addr(ctx)
		if err != nil {
			return nil, err
		}
		return d.dial(ctx, network, addr)
	}
}

func (s *sentinels) close() {
	s.mu.Lock()
	s.closed = true
	clients := maps.Clone(s.clients)
	s.mu.Unlock()
	s.cancel()
	for _, c := range clients {
		_ = c.Close() // nothing is written to it
	}
	s.wg.Wait()
}
