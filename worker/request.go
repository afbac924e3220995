package worker

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"runtime/debug"
	"strconv"
	"time"

	goredis "github.com/redis/go-redis/v9"

	"github.com/architus/guildcast/internal/botwire"
)

// settleTimeout bounds the last words about a request: its error and its acknowledgement, which must be said even when
// its deadline has passed.
const settleTimeout = 2 * time.Second

// request is an entry of a stream.
type request struct {
	id, method, replyTo string
	args                []byte
	deadline            time.Time
}

var errMalformed = errors.New("request without id, method, reply_to, deadline or JSON args")

// parse reads the fields of an entry. What can't be answered is an error.
func parse(values map[string]any) (request, error) {
	field := func(name string) string {
		s, _ := values[name].(string)
		return s
	}
	r := request{
		id: field(botwire.FieldID), method: field(botwire.FieldMethod), replyTo: field(botwire.FieldReplyTo),
		args: []byte(field(botwire.FieldArgs)),
	}
	ms, err := strconv.ParseInt(field(botwire.FieldDeadline), 10, 64)
	if err != nil || ms < 0 || r.id == "" || r.method == "" || r.replyTo == "" || !json.Valid(r.args) {
		return request{}, errMalformed
	}
	r.deadline = time.UnixMilli(ms)
	return r, nil
}

// handle answers one entry, and settles it. Where the answer could not be published it is not settled: another worker,
// or this one, takes it over.
func (l *lane) handle(m goredis.XMessage) {
	w := l.w
	w.handling.Add(1)
	defer w.handling.Add(-1)
	r, err := parse(m.Values)
	switch {
	case err != nil:
		if n := w.malformed.Add(1); w.lines.Allow("malformed") {
			w.opts.Logger.Warn("malformed request dropped", "stream", l.stream, "entry", m.ID, "err", err, "so_far", n)
		}
	case !time.Now().Before(r.deadline):
		w.expired.Add(1)
	default:
		if err := w.answer(r, l.attempt()); err != nil {
			w.unsettled.Add(1)
			if w.lines.Allow("unpublished") {
				w.opts.Logger.Warn("answer not published", "stream", l.stream, "err", err)
			}
			return
		}
	}
	l.settle(m.ID)
}

// attempt names this try at a request: the node keeps the parts of two tries apart, also where this same worker has
// taken the request back.
func (l *lane) attempt() string {
	return l.w.name + "/" + strconv.FormatUint(l.w.attempts.Add(1), 10)
}

// answer has the request handled, and publishes what comes.
func (w *Worker) answer(r request, attempt string) error {
	ctx, cancel := context.WithDeadline(context.Background(), r.deadline)
	defer cancel()
	ok, part := true, 0
	a := botwire.Reply{ID: &r.id, OK: &ok, Worker: attempt, Part: &part}
	var publishErr error
	over := false
	err := w.call(ctx, r, func(result []byte, more bool) error {
		switch {
		case over:
			return errors.New("reply after the last part")
		case publishErr != nil:
			return publishErr
		case !json.Valid(result):
			return errors.New("result is no JSON")
		}
		a.Result, a.More = result, more
		publishErr = w.publish(ctx, r.replyTo, a)
		part++
		over = !more
		return publishErr
	})
	switch {
	case over && publishErr == nil: // an error after the whole answer is the handler's own business
		w.answered.Add(1)
		return nil
	case ctx.Err() != nil: // nobody listens any more
		w.expired.Add(1)
		return nil
	case publishErr != nil:
		return publishErr
	case err == nil:
		err = errors.New("handler returned without a last part")
	}
	ok, a.Result, a.More, a.Error = false, nil, false, w.refusal(r, err)
	ctx, cancel = context.WithTimeout(context.Background(), settleTimeout)
	defer cancel()
	w.refused.Add(1)
	return w.publish(ctx, r.replyTo, a)
}

// call calls the handler. Its panic is an error: one request must not stop the others, nor the node that the worker may
// be part of.
func (w *Worker) call(ctx context.Context, r request, reply func([]byte, bool) error) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("handler panicked: %v\n%s", p, debug.Stack())
		}
	}()
	return w.handler.Handle(ctx, r.method, r.args, reply)
}

// refusal is an error as the node gets to know it.
func (w *Worker) refusal(r request, err error) *botwire.ReplyError {
	var coded interface {
		error
		Code() int
	}
	if errors.As(err, &coded) {
		word := coded.Error()
		if w, ok := coded.(interface{ Word() string }); ok {
			word = w.Word()
		}
		return &botwire.ReplyError{Code: coded.Code(), Word: word}
	}
	w.opts.Logger.Error("request not handled", "method", r.method, "err", err)
	return &botwire.ReplyError{Code: botwire.CodeInternal, Word: botwire.WordInternal}
}

func (w *Worker) publish(ctx context.Context, channel string, a botwire.Reply) error {
	data, err := json.Marshal(a)
	if err != nil {
		return fmt.Errorf("encode answer: %w", err)
	}
	if err := w.client.Publish(ctx, channel, data).Err(); err != nil {
		return fmt.Errorf("publish answer: %w", err)
	}
	return nil
}

// settle takes an entry out of the group, and out of the stream.
func (l *lane) settle(entry string) {
	ctx, cancel := context.WithTimeout(context.Background(), settleTimeout)
	defer cancel()
	_, err := l.w.client.Pipelined(ctx, func(p goredis.Pipeliner) error {
		p.XAck(ctx, l.stream, l.w.opts.Group, entry)
		p.XDel(ctx, l.stream, entry)
		return nil
	})
	if err != nil {
		// It will be taken over, and answered again: the node drops the second answer.
		l.w.opts.Logger.Debug("request not acknowledged", "stream", l.stream, "entry", entry, "err", err)
	}
}
