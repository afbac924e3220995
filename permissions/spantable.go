package permissions

import "math/bits"

const (
	spanParts    = 256
	minPartSlots = 8
)

// digest is the keyed hash of a revocation's key. It stands for the key: of two keys with one digest, which nobody can
// find and chance does not, the tokens of both are refused.
type digest [2]uint64

// spanTable holds a span by digest, by open addressing. It consists of parts, each of which grows by a quarter when it
// is filled to four fifths: so three quarters of the slots are in use, and no insertion moves many. The zero value
// holds none.
type spanTable struct{ parts []spanPart }

type spanPart struct {
	slots []spanSlot
	used  int
}

// spanSlot is free if its span never was in force.
type spanSlot struct {
	key  digest
	span span
}

func (s *spanSlot) free() bool { return s.span.expires == 0 }

// get returns the span of a key.
func (t *spanTable) get(key digest) (sp span, known bool) {
	if t.parts == nil {
		return span{}, false
	}
	p := t.part(key)
	if p.used == 0 {
		return span{}, false
	}
	slot := p.slots[p.find(key)]
	return slot.span, !slot.free()
}

// set gives a key a span, which must expire after 1970.
func (t *spanTable) set(key digest, sp span) {
	if t.parts == nil {
		t.parts = make([]spanPart, spanParts)
	}
	p := t.part(key)
	if size := len(p.slots); (p.used+1)*5 > size*4 {
		p.resize(max(size+size/4, minPartSlots))
	}
	slot := &p.slots[p.find(key)]
	if slot.free() {
		p.used++
	}
	*slot = spanSlot{key, sp}
}

// remove removes a key, and gives memory back if few are left.
func (t *spanTable) remove(key digest) {
	if _, known := t.get(key); !known {
		return
	}
	p := t.part(key)
	p.clear(p.find(key))
	p.used--
	if size := len(p.slots) / 2; p.used*4 < size && size >= minPartSlots {
		p.resize(size)
	}
}

func (t *spanTable) part(key digest) *spanPart { return &t.parts[key[0]%spanParts] }

// home is the slot in which a key is looked for first.
func (p *spanPart) home(key digest) int {
	i, _ := bits.Mul64(key[1], uint64(len(p.slots)))
	return int(i)
}

// next is the slot after i, around the end.
func (p *spanPart) next(i int) int {
	if i++; i == len(p.slots) {
		return 0
	}
	return i
}

// find returns the slot of a key, or the free one in which it would be. There is always a free one.
func (p *spanPart) find(key digest) int {
	i := p.home(key)
	for !p.slots[i].free() && p.slots[i].key != key {
		i = p.next(i)
	}
	return i
}

// clear frees a slot, and moves those behind it that could not be found any more.
func (p *spanPart) clear(gap int) {
	size := len(p.slots)
	for i := p.next(gap); !p.slots[i].free(); i = p.next(i) {
		fromHome := (i - p.home(p.slots[i].key) + size) % size
		if fromGap := (i - gap + size) % size; fromHome >= fromGap {
			p.slots[gap], gap = p.slots[i], i
		}
	}
	p.slots[gap] = spanSlot{}
}

func (p *spanPart) resize(size int) {
	old := p.slots
	p.slots = make([]spanSlot, size)
	for _, slot := range old {
		if !slot.free() {
			p.slots[p.find(slot.key)] = slot
		}
	}
}
