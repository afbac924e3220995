package wire

// Reason is why a message from Redis was dropped, and the label of the metric that counts such messages.
type Reason uint8

// The reasons. A dropped message never has an effect on this node or its clients.
const (
	// Malformed: not msgpack and not JSON, truncated, or followed by other bytes.
	Malformed Reason = iota
	// TooDeep: nested deeper than MaxDepth.
	TooDeep
	// TooLarge: longer than MaxSize, or with more than MaxAttachments binary values.
	TooLarge
	// BadShape: well-formed, but not a message of this protocol.
	BadShape
	// BadPacketType: a packet other than an event. Forwarded, it would end the client's connection.
	BadPacketType
	// BadEventName: no event name, or a reserved one. Forwarded, it would end the client's connection.
	BadEventName
	// OtherNamespace: meant for another namespace.
	OtherNamespace
	// BadRequestType: a request with a type that this protocol does not have.
	BadRequestType
	// Unanswerable: a response to a request that is not (or no longer) waiting.
	Unanswerable
	// Overflow: the queue of messages to be handled was full.
	Overflow

	// NumReasons is the number of reasons, for arrays of counters.
	NumReasons
)

func (r Reason) String() string {
	switch r {
	case Malformed:
		return "malformed"
	case TooDeep:
		return "too_deep"
	case TooLarge:
		return "too_large"
	case BadShape:
		return "shape"
	case BadPacketType:
		return "packet_type"
	case BadEventName:
		return "event_name"
	case OtherNamespace:
		return "namespace"
	case BadRequestType:
		return "request_type"
	case Unanswerable:
		return "unanswerable"
	case Overflow:
		return "overflow"
	default:
		return "unknown"
	}
}

// Error is what every decoder of this package returns: a reason, and what was wrong.
type Error struct {
	Reason Reason
	Detail string
}

func (e *Error) Error() string { return e.Reason.String() + ": " + e.Detail }
