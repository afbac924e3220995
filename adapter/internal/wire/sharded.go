package wire

import "unicode/utf16"

// The subscription modes of Node's createShardedAdapter. Anything else is taken for ModeDynamic.
const (
	ModeStatic         = "static"
	ModeDynamic        = "dynamic"
	ModeDynamicPrivate = "dynamic-private"
)

// OwnChannel reports whether broadcasts to room alone go through a channel of its own. The room of a Go server's
// socket, with a name of 24 units, has one in ModeDynamic too, since Node's servers address it so.
func OwnChannel(mode, room string) bool {
	switch mode {
	case ModeStatic:
		return false
	case ModeDynamicPrivate:
		return true
	default:
		return !looksLikeNodeSocket(room)
	}
}

// looksLikeNodeSocket reports whether room has the length of a Node.js socket's id, counted as JavaScript does.
func looksLikeNodeSocket(room string) bool {
	const idLength = 20
	if len(room) < idLength || len(room) > 3*idLength {
		return false
	}
	units := 0
	for _, r := range room {
		units += utf16.RuneLen(r)
	}
	return units == idLength
}

// MessageType is the type of a message of the sharded protocol.
type MessageType int

// The messages. Each answer follows the request that it answers.
const (
	ShardedBroadcast      MessageType = 3
	ShardedJoin           MessageType = 4
	ShardedLeave          MessageType = 5
	ShardedDisconnect     MessageType = 6
	ShardedFetch          MessageType = 7
	ShardedFetched        MessageType = 8
	ShardedServerSideEmit MessageType = 9
	ShardedServerSideAck  MessageType = 10
	ShardedClientCount    MessageType = 11
	ShardedBroadcastAck   MessageType = 12
)

// mayHoldBinary reports whether a message is searched for binary, which makes it MessagePack.
func (t MessageType) mayHoldBinary() bool {
	switch t {
	case ShardedBroadcast, ShardedBroadcastAck, ShardedFetched, ShardedServerSideEmit, ShardedServerSideAck:
		return true
	}
	return false
}

// EncodeMessage encodes a message as Node's ShardedRedisAdapter does: JSON, or MessagePack when there is binary.
func EncodeMessage(t MessageType, data Object, uid, nsp string) ([]byte, error) {
	m := Object{
		{Key: "type", Value: int(t)}, {Key: "data", Value: data},
		{Key: "uid", Value: uid}, {Key: "nsp", Value: nsp},
	}
	if t.mayHoldBinary() && HasBinary(data) {
		return AppendMsgpack(make([]byte, 0, 256), m)
	}
	return AppendJSON(make([]byte, 0, 256), m)
}

// OwnSuffix is how the JSON of our own messages ends, so that they need not be read when they come back.
func OwnSuffix(uid, nsp string) []byte {
	b, err := AppendJSON(nil, Object{{Key: "uid", Value: uid}, {Key: "nsp", Value: nsp}})
	if err != nil {
		return []byte(uid) // can't be: two strings
	}
	return append([]byte(","), b[1:]...)
}

// EventPacket is an event packet as the sharded adapter writes it: without its namespace.
func EventPacket(data any) Object {
	return Object{{Key: "type", Value: 2}, {Key: "data", Value: data}}
}

// ShardedMessage is a message whose envelope was read, and whose Data was not.
type ShardedMessage struct {
	Type MessageType
	UID  string
	Nsp  string
	Data Value
}

// DecodeMessage reads the envelope of a message.
func DecodeMessage(payload []byte) (ShardedMessage, error) {
	v, err := Parse(payload)
	if err != nil {
		return ShardedMessage{}, err
	}
	if v.Kind() != Map {
		return ShardedMessage{}, &Error{Reason: BadShape, Detail: "message is not a map"}
	}
	m := ShardedMessage{Type: -1}
	for k, f := range v.Fields() {
		switch {
		case k.Is("type"):
			if t := f.Float(); t >= 1 && t <= 13 && t == float64(int(t)) {
				m.Type = MessageType(t)
			}
		case k.Is("data"):
			m.Data = f
		case k.Is("uid"):
			m.UID = ScalarText(f)
		case k.Is("nsp"):
			m.Nsp = ScalarText(f)
		}
	}
	if m.Type < 0 {
		return m, &Error{Reason: BadRequestType, Detail: "message type"}
	}
	if m.Data.Kind() != Map && m.Type >= ShardedBroadcast && m.Type <= ShardedBroadcastAck {
		return m, &Error{Reason: BadShape, Detail: "message without data"}
	}
	return m, nil
}

// ScalarText is the text of a string, empty for anything else.
func ScalarText(v Value) string {
	if v.Kind() != String {
		return ""
	}
	return v.Text()
}
