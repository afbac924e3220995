package wire

import (
	"math"
	"time"

	"github.com/tinylib/msgp/msgp"
)

// Flags of a broadcast. The zero value is the default of every flag.
type Flags struct {
	Volatile             bool
	Local                bool
	Broadcast            bool
	Binary               bool
	ExpectSingleResponse bool
	// Compress is nil if the sender did not set it; JavaScript's default is true.
	Compress *bool
	// Timeout for acknowledgements; zero if there is none.
	Timeout time.Duration
}

// Options select the sockets that a packet or request is for.
type Options struct {
	Rooms  Rooms
	Except []string
	Flags  Flags
}

// DecodeOptions reads {rooms, except, flags} in all the shapes that emitters write. Absent options mean everybody.
func DecodeOptions(v Value) (Options, error) {
	o := Options{Rooms: Rooms{All: true}}
	if !v.Present() {
		return o, nil
	}
	if k := v.Kind(); k != Map && k != Array { // an empty PHP array is a list
		return o, &Error{BadShape, "opts"}
	}
	for k, f := range v.Fields() {
		var err error
		switch {
		case k.Is("rooms"):
			o.Rooms, err = decodeRooms(f)
		case k.Is("except"):
			var except Rooms
			except, err = decodeRooms(f)
			o.Except = except.Names
		case k.Is("flags"):
			o.Flags = decodeFlags(f)
		}
		if err != nil {
			return o, err
		}
	}
	return o, nil
}

func decodeFlags(v Value) Flags {
	var f Flags
	for k, x := range v.Fields() {
		switch {
		case k.Is("volatile"):
			f.Volatile = x.Truthy()
		case k.Is("local"):
			f.Local = x.Truthy()
		case k.Is("broadcast"):
			f.Broadcast = x.Truthy()
		case k.Is("binary"):
			f.Binary = x.Truthy()
		case k.Is("expectSingleResponse"):
			f.ExpectSingleResponse = x.Truthy()
		case k.Is("compress"):
			f.Compress = nil
			if x.Present() {
				c := x.Truthy()
				f.Compress = &c
			}
		case k.Is("timeout"):
			f.Timeout = 0
			if ms := x.Float(); ms > 0 && ms < math.MaxInt64/1e6 {
				f.Timeout = time.Duration(ms * 1e6)
			}
		}
	}
	return f
}

// object returns f as Node's flags: what is not set is absent.
func (f Flags) object() Object {
	o := Object{}
	for _, b := range [...]Field{
		{"volatile", f.Volatile},
		{"local", f.Local},
		{"broadcast", f.Broadcast},
		{"binary", f.Binary},
		{"expectSingleResponse", f.ExpectSingleResponse},
	} {
		if b.Value == true {
			o = append(o, b)
		}
	}
	if f.Compress != nil {
		o = append(o, Field{"compress", *f.Compress})
	}
	if f.Timeout > 0 {
		o = append(o, Field{"timeout", f.Timeout.Milliseconds()})
	}
	return o
}

// Object returns o as {rooms, except, flags}, the lists never nil.
func (o Options) Object() Object { return append(o.Selection(), Field{"flags", o.Flags.object()}) }

// Selection returns o as {rooms, except}, the lists never nil.
func (o Options) Selection() Object {
	return Object{{"rooms", notNil(o.Rooms.Names)}, {"except", notNil(o.Except)}}
}

func notNil(s []string) []string {
	if s == nil {
		return []string{}
	}
	return s
}

// Broadcast is a message of the classic adapter's channels, [uid, packet, opts].
type Broadcast struct {
	Options

	uid, packet Value
}

// DecodeBroadcast reads a broadcast but not its packet: most are decided by sender and rooms. Beside the three-element
// array it takes longer ones, one without options or without uid, and zishang520's map {uid, packet, opts}.
func DecodeBroadcast(payload []byte) (Broadcast, error) {
	v, err := Parse(payload)
	if err != nil {
		return Broadcast{}, err
	}
	var b Broadcast
	var opts Value
	switch v.Kind() {
	case Array:
		var part [3]Value
		n := 0
		for e := range v.Elems() {
			if n == 0 && e.Kind() == Map { // the form of 2014
				n++
			}
			if n < len(part) {
				part[n] = e
			}
			n++
		}
		b.uid, b.packet, opts = part[0], part[1], part[2]
	case Map:
		b.uid, b.packet, opts = v.Get("uid"), v.Get("packet"), v.Get("opts")
	}
	if b.packet.Kind() != Map {
		return Broadcast{}, &Error{BadShape, "no packet"}
	}
	b.Options, err = DecodeOptions(opts)
	return b, err
}

// From reports whether the server uid sent b.
func (b *Broadcast) From(uid string) bool { return b.uid.Is(uid) }

// Packet reads the packet.
func (b *Broadcast) Packet() (Packet, error) { return DecodePacket(b.packet) }

// EncodeBroadcast encodes a broadcast as Node's adapter does; data is the event's name and its arguments.
func EncodeBroadcast(uid, nsp string, data any, o Options) ([]byte, error) {
	b := make([]byte, 0, 256)
	b = msgp.AppendArrayHeader(b, 3)
	b = msgp.AppendString(b, uid)
	b, err := AppendMsgpack(b, PacketObject(nsp, data))
	if err != nil {
		return nil, err
	}
	return AppendMsgpack(b, o.Object())
}

// PacketObject is an event packet as the classic adapter writes it.
func PacketObject(nsp string, data any) Object {
	return Object{{"type", 2}, {"data", data}, {"nsp", nsp}}
}
