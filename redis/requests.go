package redis

import (
	"cmp"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	goredis "github.com/redis/go-redis/v9"

	"github.com/architus/guildcast/bus"
	"github.com/architus/guildcast/internal/botwire"
	"github.com/architus/guildcast/internal/defaults"
	"github.com/architus/guildcast/internal/service"
	"github.com/architus/guildcast/internal/throttle"
	"github.com/architus/guildcast/internal/wake"
)

// RequestsOptions configure Requests. The zero value works.
type RequestsOptions struct {
	// Shards is the number of pool services. Default 1.
	Shards int

	// Timeout bounds a request, from Do to the last part of the answer. Default 5 s.
	Timeout time.Duration

	// MaxInFlight bounds the requests of this node that wait for an answer. Beyond it, Do fails with ErrBusy. Default
	// 8,192.
	MaxInFlight int

	// MaxAnswerBytes bounds one answer, and MaxAnswerBudget the answers of all requests in flight together. A request
	// that exceeds either fails with ErrTooLarge. Defaults 64 MiB and 256 MiB.
	MaxAnswerBytes, MaxAnswerBudget int

	// MaxStream bounds the requests in a stream, approximately. Beyond it, Redis drops the oldest. Default 20,000.
	MaxStream int

	// Logger receives what an operator must know; nil discards.
	Logger *slog.Logger
}

// DefaultRequestsOptions returns the default values of the numeric options.
func DefaultRequestsOptions() RequestsOptions {
	return RequestsOptions{
		Shards: 1, Timeout: 5 * time.Second, MaxInFlight: 8192,
		MaxAnswerBytes: 64 << 20, MaxAnswerBudget: 256 << 20, MaxStream: 20_000,
	}
}

func (o *RequestsOptions) setDefaults() {
	d := DefaultRequestsOptions()
	o.Logger = cmp.Or(o.Logger, slog.New(slog.DiscardHandler))
	o.Shards = defaults.Positive(o.Shards, d.Shards)
	o.Timeout = defaults.Positive(o.Timeout, d.Timeout)
	o.MaxInFlight = defaults.Positive(o.MaxInFlight, d.MaxInFlight)
	o.MaxAnswerBytes = defaults.Positive(o.MaxAnswerBytes, d.MaxAnswerBytes)
	o.MaxAnswerBudget = defaults.Positive(o.MaxAnswerBudget, d.MaxAnswerBudget)
	o.MaxStream = defaults.Positive(o.MaxStream, d.MaxStream)
}

// RequestsStats are counters since NewRequests, except InFlight and Bytes, which are current.
type RequestsStats struct {
	InFlight  int    // requests that wait for an answer
	Bytes     int    // held in parts of their answers
	Sent      uint64 // requests that Redis has accepted
	Answered  uint64 // answers with a result
	Refused   uint64 // answers with an error
	Timeouts  uint64 // requests without an answer in time
	Cancelled uint64 // requests whose caller went away
	Failed    uint64 // requests that failed for another reason: Redis, bounds
	Late      uint64 // replies to no request in flight: too late, or of a second answer
	Malformed uint64 // replies that were dropped as malformed
}

// Requests sends requests to the bot's workers through Redis streams. Each node hears the answers on a channel of its
// own. An answer is returned whole or not at all, even if it comes in parts: parts of two workers are never mixed, and
// a request is never answered twice. A request may be executed twice, if a slow worker is taken for dead. All methods
// may be called concurrently.
type Requests struct {
	// Static after construction.
	client    goredis.UniversalClient
	opts      RequestsOptions
	channel   string
	ear       *ear
	unwatch   func()
	streams   *streams
	life      service.Life       // entered by Do and callbacks
	ctx       context.Context    // ends with Run
	cancel    context.CancelFunc // called by Run
	lastID    atomic.Uint64
	unsharded atomic.Uint64 // counts the requests that concern no guild, which the shards take in turn

	// claimAfter is the least time after which a worker may take over another's request, as docs/reference/workers.md
	// demands. silence is how long a worker may pause between parts.
	claimAfter, silence time.Duration

	lines throttle.Minutely[string] // by message

	sent, answered, refused, timeouts, cancelled, failed, late, malformed atomic.Uint64

	// Guarded by mu.
	mu          sync.Mutex
	calls       map[string]*call
	maxInFlight int   // of calls
	bytes       int   // held by all calls
	lost        error // why answers can't be heard, or nil
}

// call is one request that waits for its answer.
type call struct {
	id    string
	done  chan struct{}
	split chan struct{} // closed by the first part that is not the last and names no worker
	heard wake.Signal   // sent for each part

	// Guarded by Requests.mu until done is closed, and static then.
	answer answer
	result [][]byte
	err    error
	over   bool // done is closed
	parted bool // split is closed
}

// NewRequests returns the requests of a node, which must be run, and subscribes to their answers.
func NewRequests(client goredis.UniversalClient, b *bus.Bus, o RequestsOptions) *Requests {
	o.setDefaults()
	r := &Requests{
		client: client, opts: o, channel: botwire.RepliesPrefix + rand.Text(),
		claimAfter: 2 * time.Second, silence: 2 * time.Second,
		streams: newStreams(client, o.MaxStream, o.Logger), calls: map[string]*call{}, maxInFlight: o.MaxInFlight,
	}
	r.ctx, r.cancel = context.WithCancel(context.Background())
	r.unwatch = b.Watch(r.follow)
	r.ear = newEar(b, r.channel, r.handle)
	return r
}

// Run keeps the streams short until ctx ends. Then it fails the requests in flight, and returns nil once every Do has
// returned. It may be called once.
func (r *Requests) Run(ctx context.Context) error {
	if err := r.life.Begin(); err != nil {
		return fmt.Errorf("run requests: %w", err)
	}
	r.streams.run(ctx)
	r.cancel()
	r.unwatch()
	r.ear.close()
	r.life.End()
	r.streams.flush(context.WithoutCancel(ctx))
	return nil
}

// Do sends a request to the workers of a guild's shard, or of any shard if guild is "", and waits for the whole answer.
// Then it calls part with each part of the result, in order, on the caller's goroutine, until part fails.
//
// The error is part's own as it is, an *Error of the worker, ErrTimeout, ErrUnavailable, ErrBusy or ErrTooLarge, or it
// wraps the context's if the caller has given up.
func (r *Requests) Do(ctx context.Context, guild, method string, args []byte, part func(result []byte) error) error {
	stream, err := r.stream(guild, method)
	if err != nil {
		return fmt.Errorf("request %s: %w", method, err)
	}
	parts, err := r.enter(ctx, stream, method, args)
	r.count(err)
	if err != nil {
		return err
	}
	for _, p := range parts {
		if err := part(p); err != nil {
			return err
		}
	}
	return nil
}

// enter calls ask, and fails once Run ends.
func (r *Requests) enter(ctx context.Context, stream, method string, args []byte) ([][]byte, error) {
	if !r.life.Enter() {
		return nil, unavailable("request "+method, service.ErrEnded)
	}
	defer r.life.Leave()
	asking, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(r.ctx, cancel)()
	parts, err := r.ask(asking, stream, method, args)
	if err != nil && r.ctx.Err() != nil && ctx.Err() == nil {
		return nil, unavailable("request "+method, service.ErrEnded)
	}
	return parts, err
}

// stream returns the stream of the service that answers a method for a guild.
func (r *Requests) stream(guild, method string) (string, error) {
	if method == botwire.MethodInterpret {
		return botwire.RequestStream(botwire.ServiceInterpret), nil
	}
	if guild == "" {
		return botwire.RequestStream(botwire.ServicePool(int(r.unsharded.Add(1) % uint64(r.opts.Shards)))), nil
	}
	shard, ok := botwire.Shard(guild, r.opts.Shards)
	if !ok {
		return "", errBadGuild
	}
	return botwire.RequestStream(botwire.ServicePool(shard)), nil
}

// SetMaxInFlight replaces RequestsOptions.MaxInFlight. Requests that wait are not affected.
func (r *Requests) SetMaxInFlight(n int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.maxInFlight = defaults.Positive(n, DefaultRequestsOptions().MaxInFlight)
}

// begin registers a request. It comes before the request is sent, so that no answer is too early.
func (r *Requests) begin() (*call, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	switch {
	case r.lost != nil:
		return nil, unavailable("request", r.lost)
	case len(r.calls) >= r.maxInFlight:
		return nil, ErrBusy
	}
	c := &call{
		id:   r.channel[len(botwire.RepliesPrefix):] + "-" + strconv.FormatUint(r.lastID.Add(1), 10),
		done: make(chan struct{}), split: make(chan struct{}), heard: wake.New(),
	}
	r.calls[c.id] = c
	return c, nil
}

// ask sends a request and waits for its answer. If parts of several answers might mix, it asks again, until the
// deadline.
func (r *Requests) ask(parent context.Context, stream, method string, args []byte) ([][]byte, error) {
	ctx, cancel := context.WithTimeout(parent, r.opts.Timeout)
	defer cancel()
	for {
		c, err := r.begin()
		if err != nil {
			return nil, err
		}
		result, err := r.askOnce(ctx, c, stream, method, args)
		r.end(c)
		switch {
		case !errors.Is(err, errForsaken):
			return result, gaveUp(parent, err)
		case ctx.Err() != nil:
			return nil, gaveUp(parent, ErrTimeout.because("request "+method, err))
		}
		// The new call has a new id: answers to the old one are dropped.
		r.opts.Logger.Debug("request sent again", "method", method, "err", err)
	}
}

// askOnce sends the request once and waits for its answer.
func (r *Requests) askOnce(ctx context.Context, c *call, stream, method string, args []byte) ([][]byte, error) {
	if err := r.ear.wait(ctx); err != nil {
		return nil, unavailable("hear answers", err)
	}
	begun := time.Now()
	deadline, _ := ctx.Deadline()
	entry, err := r.streams.add(ctx, stream, []string{
		botwire.FieldID, c.id, botwire.FieldMethod, method, botwire.FieldArgs, string(args),
		botwire.FieldReplyTo, r.channel, botwire.FieldDeadline, strconv.FormatInt(deadline.UnixMilli(), 10),
	})
	if err != nil {
		return nil, unavailable("request "+method, err)
	}
	r.sent.Add(1)
	// Whatever happens, the entry is of no further use. Without it no worker takes over a request that was answered.
	defer r.streams.drop(stream, entry)
	select {
	case <-c.done:
	case <-c.split:
	case <-ctx.Done():
		return nil, ErrTimeout.because("request "+method, ctx.Err())
	}
	return r.rest(ctx, c, stream, entry, begun)
}

// rest waits for the rest of an answer that has begun. Parts that name no worker must all be of one: no worker takes a
// request over before claimAfter, and none can once the entry is gone. So rest deletes the entry, and this node asks
// again, under another id, if the worker falls silent.
func (r *Requests) rest(ctx context.Context, c *call, stream, entry string, begun time.Time) ([][]byte, error) {
	select {
	case <-c.split:
	default: // the parts name their worker, or there is only one
		return c.result, c.err
	}
	if err := r.streams.withdraw(ctx, stream, entry); err != nil {
		return nil, fmt.Errorf("%w: withdraw the request: %w", errForsaken, err)
	}
	if time.Since(begun) >= r.claimAfter {
		switch n, err := r.streams.takers(ctx, stream, entry); {
		case err != nil:
			return nil, fmt.Errorf("%w: see who has the request: %w", errForsaken, err)
		case n > 1:
			return nil, fmt.Errorf("%w: %d workers have the request", errForsaken, n)
		}
	}
	silence := time.NewTimer(r.silence)
	defer silence.Stop()
	for {
		select {
		case <-c.done:
			return c.result, c.err
		case <-c.heard:
			silence.Reset(r.silence)
		case <-silence.C:
			return nil, fmt.Errorf("%w: the worker has stopped in the middle", errForsaken)
		case <-ctx.Done():
			return nil, ErrTimeout.because("rest of the answer", ctx.Err())
		}
	}
}

// errForsaken reports an answer that is given up, so that the request must be sent again.
var errForsaken = errors.New("the rest of the answer can't be relied on")

// gaveUp returns the parent's error if the caller has given up, so that nobody else is blamed, and err otherwise.
func gaveUp(parent context.Context, err error) error {
	if errors.Is(parent.Err(), context.Canceled) {
		return fmt.Errorf("request: %w", parent.Err())
	}
	return err
}

func (r *Requests) end(c *call) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.calls[c.id] == c {
		delete(r.calls, c.id)
		r.bytes -= c.answer.bytes
	}
}

// finishLocked ends a call with a result or an error. The parts no longer count as held: they are the caller's now.
func (r *Requests) finishLocked(c *call, result [][]byte, err error) {
	if c.over {
		return
	}
	delete(r.calls, c.id)
	r.bytes -= c.answer.bytes
	c.over, c.result, c.err = true, result, err
	c.answer = answer{}
	close(c.done)
}

// handle handles one reply. The bus calls it, one message at a time.
func (r *Requests) handle(m bus.Message) {
	if !r.life.Enter() {
		return
	}
	defer r.life.Leave()
	if m.Missed > 0 {
		if r.lines.Allow("missed") {
			r.opts.Logger.Warn("replies of workers dropped: this node is too slow", "messages", m.Missed)
		}
		r.missed()
	}
	p, err := decodeReply(m.Payload)
	if err != nil {
		r.bad(err)
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	c := r.calls[p.id]
	if c == nil {
		r.late.Add(1)
		return
	}
	if p.err != nil {
		r.finishLocked(c, nil, p.err)
		return
	}
	c.heard.Send()
	if p.worker == "" && p.more && !c.parted {
		c.parted = true
		close(c.split)
	}
	before := c.answer.bytes
	result, err := c.answer.add(p)
	r.bytes += c.answer.bytes - before
	switch {
	case err != nil:
		r.bad(err)
	case result != nil:
		r.finishLocked(c, result, nil)
	case c.answer.bytes > r.opts.MaxAnswerBytes || r.bytes > r.opts.MaxAnswerBudget:
		r.finishLocked(c, nil, ErrTooLarge)
	}
}

func (r *Requests) bad(err error) {
	if n := r.malformed.Add(1); r.lines.Allow("malformed") {
		r.opts.Logger.Warn("malformed reply of a worker dropped", "err", err, "so_far", n)
	}
}

// missed fails the requests whose answers may lack a part without any sign of it.
func (r *Requests) missed() {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, c := range r.calls {
		for _, t := range c.answer.attempts {
			if !t.numbered {
				r.finishLocked(c, nil, unavailable("request", errors.New("parts of the answer were lost")))
				break
			}
		}
	}
}

// follow follows the state of the bus. While Redis is away no answer can come, and answers on their way are lost.
func (r *Requests) follow(s bus.State) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if s.Hearing {
		r.lost = nil
		return
	}
	r.lost = s.Err
	if r.lost == nil {
		r.lost = errors.New("redis is not heard")
	}
	for _, c := range r.calls {
		r.finishLocked(c, nil, unavailable("request", r.lost))
	}
}

func (r *Requests) count(err error) {
	var e *Error
	switch {
	case err == nil:
		r.answered.Add(1)
	case errors.Is(err, context.Canceled):
		r.cancelled.Add(1)
	case errors.Is(err, ErrTimeout):
		r.timeouts.Add(1)
	case errors.Is(err, ErrUnavailable), errors.Is(err, ErrTooLarge), errors.Is(err, ErrBusy):
		r.failed.Add(1)
	case errors.As(err, &e):
		r.refused.Add(1)
	default:
		r.failed.Add(1)
	}
}

// Stats returns the counters.
func (r *Requests) Stats() RequestsStats {
	s := RequestsStats{
		Sent: r.sent.Load(), Answered: r.answered.Load(), Refused: r.refused.Load(), Timeouts: r.timeouts.Load(),
		Cancelled: r.cancelled.Load(), Failed: r.failed.Load(), Late: r.late.Load(), Malformed: r.malformed.Load(),
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	s.InFlight, s.Bytes = len(r.calls), r.bytes
	return s
}
