package bus

import (
	"fmt"
	"time"
)

// maxNames bounds the channel names that a reader keeps to avoid making the same string again; when there are more it
// starts over.
const maxNames = 4096

// reader takes messages from one connection to their subscriptions. Used by one goroutine.
type reader struct {
	l     *link
	c     *conn
	name  []byte // scratch: channel
	pat   []byte // scratch: pattern
	verb  []byte // scratch: first element
	names map[string]string
}

func newReader(l *link, c *conn) *reader {
	return &reader{l: l, c: c, names: map[string]string{}}
}

// run reads until the connection fails.
func (r *reader) run() error {
	for {
		if err := r.next(); err != nil {
			return err
		}
		if !r.l.active.Load() {
			r.l.active.Store(true)
		}
	}
}

// next reads one reply or push.
func (r *reader) next() error {
	if cap(r.name)+cap(r.pat) > 2*maxName {
		r.name, r.pat = nil, nil // after a long name
	}
	b, err := r.c.line()
	if err != nil {
		return err
	}
	switch b[0] {
	case '+': // PONG, if nothing is subscribed to
		r.l.pong()
		return nil
	case '-':
		return r.l.refused(replyError(b[1:]))
	}
	n, err := parseCount(b, '*')
	if err != nil {
		return err
	}
	if n < 2 || n > 4 {
		return fmt.Errorf("%w: array of %d", errProtocol, n)
	}
	if r.verb, _, err = r.c.bulk(r.verb[:0], maxName); err != nil {
		return err
	}
	switch string(r.verb) {
	case "message":
		return r.message(Channel)
	case "smessage":
		return r.message(Shard)
	case "pmessage":
		return r.message(Pattern)
	case "pong":
		r.name, _, err = r.c.bulk(r.name[:0], maxName)
		r.l.pong()
		return err
	}
	return r.confirmation()
}

func (r *reader) confirmation() error {
	name, _, err := r.c.bulk(r.name[:0], maxOwn)
	if err != nil {
		return err
	}
	r.name = name
	if _, err := r.c.reply(); err != nil { // the number of subscriptions
		return err
	}
	for k, v := range verbs {
		if string(r.verb) == v.sub || string(r.verb) == v.unsub {
			return r.l.confirmed(Kind(k), string(r.verb) == v.sub, name)
		}
	}
	return fmt.Errorf("%w: %.40q", errProtocol, r.verb)
}

func (r *reader) message(k Kind) (err error) {
	var long bool
	limit := maxOwn
	if k == Pattern {
		if r.pat, _, err = r.c.bulk(r.pat[:0], maxOwn); err != nil {
			return err
		}
		limit = maxName // anybody can make it up
	}
	if r.name, long, err = r.c.bulk(r.name[:0], limit); err != nil {
		return err
	}
	size, err := r.c.count('$')
	if err != nil {
		return err
	}
	if size < 0 {
		return fmt.Errorf("%w: null message", errProtocol)
	}
	b := r.l.b
	if long || size > b.opts.MaxMessageBytes {
		b.recvDropped.Add(1)
		b.opts.Logger.Warn("message skipped: too large", "channel", fmt.Sprintf("%.100s", r.name), "bytes", size)
		return r.c.skip(size)
	}
	key := r.name
	if k == Pattern {
		key = r.pat
	}
	if len(key) == len(r.l.probe.name) && string(key) == r.l.probe.name {
		return r.probe(size)
	}
	b.mu.Lock()
	var subs []*Subscription
	var pat string
	var epoch uint64
	if t := b.topics[k][string(key)]; t != nil && t.link == r.l {
		subs, epoch = t.subs, t.epoch
		if k == Pattern {
			pat = t.name
		}
	}
	b.mu.Unlock()
	return r.deliver(subs, Message{Pattern: pat, Epoch: epoch}, size)
}

// deliver hands m, whose payload of size bytes is read if anybody wants it, to subs.
func (r *reader) deliver(subs []*Subscription, m Message, size int) error {
	if len(subs) == 0 {
		return r.c.skip(size)
	}
	m.Channel, m.Received = r.intern(r.name), time.Now()
	for i, s := range subs {
		if !s.wants(m.Channel) {
			r.l.b.skipped.Add(1)
			continue
		}
		if m.Payload == nil {
			var err error
			if m.Payload, err = r.c.payload(size); err != nil {
				return err
			}
		}
		subs[i].offer(m)
	}
	if m.Payload == nil {
		return r.c.skip(size)
	}
	return nil
}

// intern returns name as a string, the same one for the names that come often.
func (r *reader) intern(name []byte) string {
	if s, ok := r.names[string(name)]; ok {
		return s
	}
	if len(r.names) >= maxNames {
		clear(r.names)
	}
	s := string(name)
	if len(s) <= 256 { // long names are rare, and would make the bound a large one
		r.names[s] = s
	}
	return s
}

func (r *reader) probe(size int) error {
	if size > maxName {
		return r.c.skip(size)
	}
	b, err := r.c.payload(size)
	if err != nil {
		return err
	}
	r.l.probe.hear(string(b))
	return nil
}
