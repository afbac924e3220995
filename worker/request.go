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

// settleTimeout bounds the last commands for a request, its error and its acknowledgement. They are sent even after the
// request's deadline.
const settleTimeout = 2 * time.Second

// request is a stream entry, parsed.
type request struct {
	id, method, replyTo string
	args                []byte
	deadline            time.Time
}

var errMalformed = errors.New("request without id, method, reply_to, deadline or JSON args")

// parse reads the fields of an entry. It returns an error if nobody could be answered.
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

// handle answers one entry and settles it. If the answer can't be published, handle leaves the entry unsettled, so that
// another worker, or this one, takes it over.
func (c *consumer) handle(m goredis.XMessage) {
	w := c.w
	w.handling.Add(1)
	defer w.handling.Add(-1)
	r, err := parse(m.Values)
	switch {
	case err != nil:
		if n := w.malformed.Add(1); w.lines.Allow("malformed") {
			w.opts.Logger.Warn("malformed request dropped", "stream", c.stream, "entry", m.ID, "err", err, "so_far", n)
		}
	case !time.Now().Before(r.deadline):
		w.expired.Add(1)
	default:
		if err := w.answer(r, c.attempt()); err != nil {
			w.unsettled.Add(1)
			if w.lines.Allow("unpublished") {
				w.opts.Logger.Warn("answer not published", "stream", c.stream, "err", err)
			}
			return
		}
	}
	c.settle(m.ID)
}

// attempt returns a name for this try at a request. The node keeps the parts of two tries apart, even if the same
// worker makes both.
func (c *consumer) attempt() string {
	return c.w.name + "/" + strconv.FormatUint(c.w.attempts.Add(1), 10)
}

// answer calls the handler and publishes its replies.
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
	case over && publishErr == nil: // the answer is whole: an error after it concerns nobody
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

// call calls the handler and returns its panic as an error: one request must stop neither the others nor the node that
// may run the worker.
func (w *Worker) call(ctx context.Context, r request, reply func([]byte, bool) error) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("handler panicked: %v\n%s", p, debug.Stack())
		}
	}()
	return w.handler.Handle(ctx, r.method, r.args, reply)
}

// refusal returns an error in the form that is sent to the node.
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

// settle removes an entry from the group and from the stream.
func (c *consumer) settle(entry string) {
	ctx, cancel := context.WithTimeout(context.Background(), settleTimeout)
	defer cancel()
	_, err := c.w.client.Pipelined(ctx, func(p goredis.Pipeliner) error {
		p.XAck(ctx, c.stream, c.w.opts.Group, entry)
		p.XDel(ctx, c.stream, entry)
		return nil
	})
	if err != nil {
		// Another worker takes the entry over and answers it again. The node drops the second answer.
		c.w.opts.Logger.Debug("request not acknowledged", "stream", c.stream, "entry", entry, "err", err)
	}
}
