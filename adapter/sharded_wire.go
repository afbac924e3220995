package adapter

import (
	"unicode/utf16"

	"github.com/architus/guildcast/adapter/internal/wire"
)

// SubscriptionMode says which rooms have a channel of their own. All servers of a cluster must use the same.
type SubscriptionMode string

// The modes of Node's createShardedAdapter.
const (
	// Static uses two channels per namespace: every server hears every broadcast.
	Static SubscriptionMode = "static"
	// Dynamic, the default, gives every public room a channel: only servers with members hear its broadcasts. Names of
	// exactly 20 UTF-16 units, as the ids of Node's sockets have, are taken for private rooms.
	Dynamic SubscriptionMode = "dynamic"
	// DynamicPrivate gives private rooms a channel too.
	DynamicPrivate SubscriptionMode = "dynamic-private"
)

func (m SubscriptionMode) orDefault() SubscriptionMode {
	if m == "" {
		return Dynamic
	}
	return m
}

// ownChannel tells whether broadcasts to room alone go through a channel of its own. The room of a Go server's socket,
// with a name of 24 units, has one in Dynamic too, since Node's servers address it so.
func (m SubscriptionMode) ownChannel(room string) bool {
	switch m {
	case Static:
		return false
	case DynamicPrivate:
		return true
	default:
		return !looksLikeNodeSocket(room)
	}
}

// looksLikeNodeSocket tells whether room has the length of a Node.js socket's id, counted as JavaScript does.
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

// messageType of the sharded protocol.
type messageType int

const (
	typeBroadcast      messageType = 3
	typeSocketsJoin    messageType = 4
	typeSocketsLeave   messageType = 5
	typeDisconnect     messageType = 6
	typeFetch          messageType = 7
	typeFetched        messageType = 8
	typeServerSideEmit messageType = 9
	typeServerSideAck  messageType = 10
	typeClientCount    messageType = 11
	typeBroadcastAck   messageType = 12
)

// mayHoldBinary tells whether a message is searched for binary, which makes it MessagePack.
func (t messageType) mayHoldBinary() bool {
	switch t {
	case typeBroadcast, typeBroadcastAck, typeFetched, typeServerSideEmit, typeServerSideAck:
		return true
	}
	return false
}

// encodeMessage encodes a message as Node's ShardedRedisAdapter does: JSON, or MessagePack when there is binary.
func encodeMessage(t messageType, data wire.Object, uid, nsp string) ([]byte, error) {
	m := wire.Object{
		{Key: "type", Value: int(t)}, {Key: "data", Value: data},
		{Key: "uid", Value: uid}, {Key: "nsp", Value: nsp},
	}
	if t.mayHoldBinary() && wire.HasBinary(data) {
		return wire.AppendMsgpack(make([]byte, 0, 256), m)
	}
	return wire.AppendJSON(make([]byte, 0, 256), m)
}

// ownSuffix is how the JSON of our own messages ends, so that they need not be read when they come back.
func ownSuffix(uid, nsp string) []byte {
	b, err := wire.AppendJSON(nil, wire.Object{{Key: "uid", Value: uid}, {Key: "nsp", Value: nsp}})
	if err != nil {
		return []byte(uid) // can't be: two strings
	}
	return append([]byte(","), b[1:]...)
}

// eventPacket is an event packet as the sharded adapter writes it: without its namespace.
func eventPacket(data any) wire.Object {
	return wire.Object{{Key: "type", Value: 2}, {Key: "data", Value: data}}
}

// shardedMessage is a decoded message, up to its data.
type shardedMessage struct {
	typ  messageType
	uid  string
	nsp  string
	data wire.Value
}

// decodeMessage reads the envelope of a message.
func decodeMessage(payload []byte) (shardedMessage, error) {
	v, err := wire.Parse(payload)
	if err != nil {
		return shardedMessage{}, err
	}
	if v.Kind() != wire.Map {
		return shardedMessage{}, &wire.Error{Reason: wire.BadShape, Detail: "message is not a map"}
	}
	m := shardedMessage{typ: -1}
	for k, f := range v.Fields() {
		switch {
		case k.Is("type"):
			if t := f.Float(); t >= 1 && t <= 13 && t == float64(int(t)) {
				m.typ = messageType(t)
			}
		case k.Is("data"):
			m.data = f
		case k.Is("uid"):
			m.uid = scalarText(f)
		case k.Is("nsp"):
			m.nsp = scalarText(f)
		}
	}
	if m.typ < 0 {
		return m, &wire.Error{Reason: wire.BadRequestType, Detail: "message type"}
	}
	if m.data.Kind() != wire.Map && m.typ >= typeBroadcast && m.typ <= typeBroadcastAck {
		return m, &wire.Error{Reason: wire.BadShape, Detail: "message without data"}
	}
	return m, nil
}

// scalarText is the text of a string, empty for anything else.
func scalarText(v wire.Value) string {
	if v.Kind() != wire.String {
		return ""
	}
	return v.Text()
}
