package wire

// RequestType of the classic adapter, versions 6 to 8.
type RequestType int

// The requests. A response to the last three carries its type.
const (
	Sockets RequestType = iota
	AllRooms
	RemoteJoin
	RemoteLeave
	RemoteDisconnect
	RemoteFetch
	ServerSideEmit
	BroadcastAck
	ClientCount
	AckValue
)

// Request is a message of the classic adapter's request channel.
type Request struct {
	Type RequestType
	UID  string
	// ID is the requestId, empty if no answer is wanted.
	ID string
	// LegacyID is the requestid of socket.io-redis 5, whose types are numbered otherwise: see LegacyType.
	LegacyID string
	// Options select the sockets; nil in the shape that names one by SID.
	Options *Options
	SID     string
	Room    string
	// Rooms to join or leave, or whose sockets are asked for.
	Rooms Rooms
	Close bool
	// Data of ServerSideEmit (the event and its arguments) and of a custom request of version 5.
	Data Value

	packet Value
}

// Packet reads the packet of BroadcastAck.
func (r *Request) Packet() (Packet, error) { return DecodePacket(r.packet) }

// LegacyType of a request of socket.io-redis 5.
type LegacyType = RequestType

// The requests of socket.io-redis 5 (those with a requestid).
const (
	LegacyClients LegacyType = iota
	LegacyClientRooms
	LegacyAllRooms
	LegacyJoin
	LegacyLeave
	LegacyCustom
	LegacyDisconnect
)

// DecodeRequest reads a request, JSON or msgpack. The type has to be a number.
func DecodeRequest(payload []byte) (Request, error) {
	v, err := Parse(payload)
	if err != nil {
		return Request{}, err
	}
	if v.Kind() != Map {
		return Request{}, &Error{BadShape, "request is not a map"}
	}
	r := Request{Type: -1}
	for k, f := range v.Fields() {
		if err := r.field(k, f); err != nil {
			return Request{}, err
		}
	}
	last := AckValue
	if r.LegacyID != "" {
		last = LegacyDisconnect
	}
	if r.Type < 0 || r.Type > last {
		return Request{}, &Error{BadRequestType, "request type"}
	}
	return r, nil
}

func (r *Request) field(k, f Value) (err error) {
	switch {
	case k.Is("type"):
		r.Type = -1
		if t := f.Float(); t >= 0 && t <= float64(AckValue) && t == float64(int(t)) {
			r.Type = RequestType(t)
		}
	case k.Is("uid"):
		r.UID = scalar(f)
	case k.Is("requestId"):
		r.ID = scalar(f)
	case k.Is("requestid"):
		r.LegacyID = scalar(f)
	case k.Is("opts"):
		if r.Options = nil; f.Present() {
			var o Options
			o, err = DecodeOptions(f)
			r.Options = &o
		}
	case k.Is("rooms"):
		if f.Kind() == String && f.Text() != "" { // a Java emitter's single room; addSockets takes it as one
			r.Rooms = Rooms{Names: []string{f.Text()}}
		} else {
			r.Rooms, err = decodeRooms(f)
		}
	case k.Is("sid"):
		r.SID = scalar(f)
	case k.Is("room"):
		r.Room = scalar(f)
	case k.Is("close"):
		r.Close = f.Truthy()
	case k.Is("data"):
		r.Data = f
	case k.Is("packet"):
		r.packet = f
	}
	return err
}

// scalar is the text of a string or number, empty for anything else.
func scalar(v Value) string {
	switch v.Kind() {
	case String, Number, Binary:
		return v.Text()
	}
	return ""
}

// Response is a message of the classic adapter's response channels.
type Response struct {
	// Type is that of the request for ServerSideEmit, ClientCount and AckValue, and -1 if the response has none.
	Type RequestType
	ID   string
	// UID of the server that answers: only servers of this project sign.
	UID         string
	ClientCount uint64
	// Value of an acknowledgement: data or packet.
	Value Value
	// Sockets are ids or descriptions of sockets, Rooms are names; undefined if the response has none.
	Sockets, Rooms Value
}

// DecodeResponse reads a response, JSON or msgpack.
func DecodeResponse(payload []byte) (Response, error) {
	v, err := Parse(payload)
	if err != nil {
		return Response{}, err
	}
	r := Response{Type: -1}
	for k, f := range v.Fields() {
		switch {
		case k.Is("type"):
			if t := f.Float(); t >= 0 && t <= float64(AckValue) {
				r.Type = RequestType(t)
			}
		case k.Is("requestId"):
			r.ID = scalar(f)
		case k.Is("uid"):
			r.UID = scalar(f)
		case k.Is("clientCount"):
			if n := f.Float(); n > 0 && n < 1<<53 {
				r.ClientCount = uint64(n)
			}
		case k.Is("data"), k.Is("packet"):
			r.Value = f
		case k.Is("sockets"):
			r.Sockets = f
		case k.Is("rooms"):
			r.Rooms = f
		}
	}
	if r.ID == "" {
		return Response{}, &Error{BadShape, "response without requestId"}
	}
	return r, nil
}
