package wire

import (
	"unicode/utf8"

	"github.com/architus/guildcast/internal/js"
)

// Packet is the event inside a broadcast.
type Packet struct {
	// Event is the name, never a reserved one.
	Event string
	// Nsp is the namespace that the packet names, "/" if it names none.
	Nsp string

	data Value // the array of the event's name and its arguments
}

// reservedEvents of a client: it closes a connection that sends one of them.
var reservedEvents = [...]string{
	"connect", "connect_error", "disconnect", "disconnecting", "newListener", "removeListener",
}

// ReservedEvent reports whether a client refuses an event of this name.
func ReservedEvent(name string) bool {
	for _, r := range reservedEvents {
		if r == name {
			return true
		}
	}
	return false
}

// DecodePacket reads {type, data, nsp}. Only events pass: any other packet would close or confuse the clients that get
// it. Type 5 (binary event) is read as 2; whether there is binary shows in the data.
func DecodePacket(v Value) (Packet, error) {
	if v.Kind() != Map {
		return Packet{}, &Error{BadShape, "packet is not a map"}
	}
	p := Packet{Nsp: "/"}
	var typ Value
	for k, f := range v.Fields() {
		switch {
		case k.Is("type"):
			typ = f
		case k.Is("data"):
			p.data = f
		case k.Is("nsp"):
			switch f.Kind() {
			case Undefined:
				p.Nsp = "/"
			case String, Binary:
				p.Nsp = f.Text()
			default: // an explicit null is no namespace
				p.Nsp = ""
			}
		}
	}
	if !eventType(typ) {
		return Packet{}, &Error{BadPacketType, typ.Text()}
	}
	return p, p.readEvent()
}

// eventType reports whether v is the type of an event: 2 or 5, as a number of any width or as text, or the ASCII codes
// of these (zishang520's Go emitter).
func eventType(v Value) bool {
	switch v.Kind() {
	case Number:
		f := v.Float()
		return f == 2 || f == 5 || f == '2' || f == '5'
	case String:
		return v.Is("2") || v.Is("5")
	}
	return false
}

func (p *Packet) readEvent() error {
	if p.data.Kind() != Array {
		return &Error{BadShape, "packet data is not an array"}
	}
	for name := range p.data.Elems() {
		switch name.Kind() {
		case String, Number, Binary:
			p.Event = name.Text()
			if ReservedEvent(p.Event) {
				return &Error{BadEventName, p.Event}
			}
			return nil
		}
		break
	}
	return &Error{BadEventName, "none"}
}

// Args returns the JSON array of the event's name and its arguments, with a placeholder for each binary value, and the
// binary values, which alias the payload. The name is always a string, though some emitters send numbers.
func (p *Packet) Args() (args []byte, attachments [][]byte, err error) {
	return p.AppendArgs(make([]byte, 0, len(p.data.b)+len(p.data.b)/4+16))
}

// AppendArgs is Args, appending to args.
func (p *Packet) AppendArgs(args []byte) (_ []byte, attachments [][]byte, err error) {
	args = append(args, '[')
	i := 0
	for v := range p.data.Elems() {
		if i++; i == 1 {
			args = js.AppendString(args, p.Event)
			continue
		}
		args = v.AppendJSON(append(args, ','), &attachments)
		if len(attachments) > MaxAttachments {
			return nil, nil, &Error{TooLarge, "attachments"}
		}
	}
	return append(args, ']'), attachments, nil
}

// Values returns the event's name and its arguments as Go values; see Value.Go.
func (p *Packet) Values(bin func([]byte) any) []any {
	out := []any{p.Event}
	i := 0
	for v := range p.data.Elems() {
		if i++; i > 1 {
			out = append(out, v.Go(bin))
		}
	}
	return out
}

// Rooms is a set of rooms as it came.
type Rooms struct {
	// Names in the order of the wire, without repetition. A number has its decimal form.
	Names []string
	// All is true if no room was named, which means everybody. A list that holds nothing that can be a room is not
	// All: it means nobody.
	All bool
}

// decodeRooms reads a list of rooms as JavaScript's new Set(v) would. Binary, which no room in Node equals, is taken
// for text (Python 3 emitters), a map for the list of its values (PHP's filtered arrays).
func decodeRooms(v Value) (Rooms, error) {
	switch v.Kind() {
	case Undefined, Null:
		return Rooms{All: true}, nil
	case String, Binary: // iterated, it is a set of characters
		return Rooms{Names: characters(v.Text()), All: v.Text() == ""}, nil
	case Array:
		r := Rooms{All: true}
		for e := range v.Elems() {
			r.take(e)
		}
		return r, nil
	case Map:
		r := Rooms{All: true}
		for _, e := range v.Fields() {
			r.take(e)
		}
		return r, nil
	}
	return Rooms{}, &Error{BadShape, "rooms are not a list"}
}

// take adds what can be a room.
func (r *Rooms) take(v Value) {
	r.All = false
	switch v.Kind() {
	case String, Number, Binary:
		r.add(v.Text())
	}
}

// add appends name if it is new. Long lists are not searched: a repetition does no harm but time.
func (r *Rooms) add(name string) {
	if len(r.Names) < 16 {
		for _, n := range r.Names {
			if n == name {
				return
			}
		}
	}
	r.Names = append(r.Names, name)
}

func characters(s string) []string {
	if len(s) > 64 { // a mistake of the sender, not worth the memory
		s = s[:64]
	}
	var r Rooms
	for len(s) > 0 {
		_, n := utf8.DecodeRuneInString(s)
		r.add(s[:n])
		s = s[n:]
	}
	return r.Names
}
