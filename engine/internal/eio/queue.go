package eio

import "sync"

// chunkFrames makes a chunk 256 bytes.
const chunkFrames = 30

// chunk is a piece of a queue.
type chunk struct {
	next        *chunk
	first, last uint32 // frames[first:last] are queued
	frames      [chunkFrames]*Frame
}

// chunks is a pool of empty chunks.
type chunks struct{ pool sync.Pool }

func (p *chunks) get() *chunk {
	if c, _ := p.pool.Get().(*chunk); c != nil {
		return c
	}
	return new(chunk)
}

func (p *chunks) put(c *chunk) {
	c.next, c.first, c.last = nil, 0, 0
	p.pool.Put(c)
}

// queue is a FIFO of frames that holds no memory while it is empty. The zero value is empty.
type queue struct{ head, tail *chunk }

func (q *queue) empty() bool { return q.head == nil }

func (q *queue) push(p *chunks, f *Frame) {
	t := q.tail
	if t == nil || t.last == chunkFrames {
		t = p.get()
		if q.tail == nil {
			q.head = t
		} else {
			q.tail.next = t
		}
		q.tail = t
	}
	t.frames[t.last] = f
	t.last++
}

// front returns the first frame of a queue that is not empty.
func (q *queue) front() *Frame { return q.head.frames[q.head.first] }

// pop removes the first frame of a queue that is not empty.
func (q *queue) pop(p *chunks) *Frame {
	h := q.head
	f := h.frames[h.first]
	h.frames[h.first] = nil
	h.first++
	if h.first == h.last {
		q.head = h.next
		if q.head == nil {
			q.tail = nil
		}
		p.put(h)
	}
	return f
}

// take empties q and returns what was in it.
func (q *queue) take() queue {
	all := *q
	*q = queue{}
	return all
}

// add moves all frames of o to the end of q.
func (q *queue) add(o queue) {
	switch {
	case o.head == nil:
	case q.head == nil:
		*q = o
	default:
		q.tail.next, q.tail = o.head, o.tail
	}
}

// clear empties q.
func (q *queue) clear(p *chunks) {
	for !q.empty() {
		q.pop(p)
	}
}

// replaceLast replaces the last frame for which match returns true with f, or the last frame of all if there is none. q
// must not be empty.
func (q *queue) replaceLast(match func(*Frame) bool, f *Frame) {
	at := &q.tail.frames[q.tail.last-1]
	for ch := q.head; ch != nil; ch = ch.next {
		for i := ch.first; i < ch.last; i++ {
			if match(ch.frames[i]) {
				at = &ch.frames[i]
			}
		}
	}
	*at = f
}

// measure returns about how many bytes the frames of q take in a payload, and whether one of them is binary.
func (q *queue) measure() (size int, binary bool) {
	for ch := q.head; ch != nil; ch = ch.next {
		for _, f := range ch.frames[ch.first:ch.last] {
			n := len(f.wire)
			if f.binary {
				n += n/3 + 4
				binary = true
			}
			size += n
		}
	}
	return size, binary
}
