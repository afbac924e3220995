package bus

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/redis/go-redis/v9"
)

// publishWait bounds the writing of a chunk of messages, and then the wait for its answers.
const publishWait = 3 * time.Second

// pipe is a publishing connection. A goroutine of its own reads, so that the loss of an idle connection is noticed
// before a message is lost on it.
type pipe struct {
	c      *conn
	addr   string    // to which the client's dialler was sent
	began  time.Time // to be made
	looked time.Time // where the name leads, if nobody else looks; owned by publisher.run
	next   time.Time // to ask whether it leads to the right server; owned by publisher.run

	want chan int      // capacity 1: the number of answers to read; sent by exchange before it writes
	done chan struct{} // capacity 1: they have been read
	gone chan struct{} // closed by read when it ends

	// Owned by exchange; by read between want and done or gone.
	replies []error // for each message answered: nil or a replyError
	err     error   // why read ended

	buf []byte // owned by exchange
}

func (b *Bus) openPipe(ctx context.Context, o *redis.Options) (*pipe, error) {
	began := time.Now()
	c, err := dial(ctx, o, b.opts.Name+"-pub")
	if err != nil {
		return nil, err
	}
	if c.id.replica {
		c.nc.Close()
		return nil, fmt.Errorf("publish to redis at %s: %w", o.Addr, errReplica)
	}
	p := &pipe{
		c: c, addr: o.Addr, began: began, looked: began, want: make(chan int, 1), done: make(chan struct{}, 1),
		gone: make(chan struct{}),
	}
	b.wg.Go(p.read)
	return p, nil
}

func (p *pipe) read() {
	defer close(p.gone)
	for {
		if _, err := p.c.r.Peek(1); err != nil {
			p.err = err
			return
		}
		var n int
		select {
		case n = <-p.want:
		default:
			b, _ := p.c.line()
			p.err = fmt.Errorf("%w: %.40q", errProtocol, b)
			return
		}
		for range n {
			_, err := p.c.reply()
			var re replyError
			if err != nil && !errors.As(err, &re) {
				p.err = err
				return
			}
			p.replies = append(p.replies, err)
		}
		p.done <- struct{}{}
	}
}

func (p *pipe) broken() bool {
	select {
	case <-p.gone:
		return true
	default:
		return false
	}
}

// exchange writes ms and returns the answers. With an error the connection is gone; the messages without an answer
// were not sent at all if clean is true.
func (p *pipe) exchange(ms []outgoing) (replies []error, clean bool, err error) {
	p.buf = p.buf[:0]
	for i := range ms {
		p.buf = appendPublish(p.buf, &ms[i])
	}
	if p.broken() {
		return nil, true, p.err
	}
	p.replies = p.replies[:0]
	p.want <- len(ms)
	deadline := time.Now().Add(publishWait)
	p.c.nc.SetWriteDeadline(deadline)
	n, err := p.c.nc.Write(p.buf)
	if cap(p.buf) > 2*chunkBytes {
		p.buf = nil // a large message should not be remembered in memory
	}
	if err != nil {
		p.close()
		return p.replies, n == 0, err
	}
	timer := time.NewTimer(publishWait)
	defer timer.Stop()
	select {
	case <-p.done:
		return p.replies, false, nil
	case <-p.gone:
		return p.replies, false, p.err
	case <-timer.C:
		p.close()
		return p.replies, false, fmt.Errorf("no answer within %v", publishWait)
	}
}

// close hangs up and waits for read.
func (p *pipe) close() {
	p.c.nc.Close()
	for {
		select {
		case <-p.gone:
			return
		case <-p.done:
		}
	}
}

// appendPublish appends the command that publishes m.
func appendPublish(b []byte, m *outgoing) []byte {
	if m.sharded {
		b = append(b, "*3\r\n$8\r\nspublish\r\n"...)
	} else {
		b = append(b, "*3\r\n$7\r\npublish\r\n"...)
	}
	b = append(append(appendHeader(b, '$', len(m.channel)), m.channel...), '\r', '\n')
	b = append(appendHeader(b, '$', len(m.payload)), m.payload...)
	return append(b, '\r', '\n')
}
