package eio

// PacketType is the type of an Engine.IO packet.
type PacketType uint8

// The types of the protocol; the digit on the wire is '0' plus the value.
const (
	PacketOpen PacketType = iota
	PacketClose
	PacketPing
	PacketPong
	PacketMessage
	PacketUpgrade
	PacketNoop
)

// Packet is what the per-packet hooks see.
type Packet struct {
	Type   PacketType
	Binary bool
	Data   []byte // read-only
}
