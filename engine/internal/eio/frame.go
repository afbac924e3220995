package eio

// Frame is one outgoing message. It is encoded once, is immutable, and may be queued on any number of connections;
// what a transport needs beyond the plain WebSocket form (compressed, base64, the revision 3 form of binary data) is
// made when it is first asked for, and kept.
type Frame struct {
	wire   []byte // WebSocket header and payload
	header uint8
	binary bool
	plain  bool
}

// TextFrame returns a text message made of parts, which are copied.
func TextFrame(parts ...[]byte) *Frame { return nil }

// BinaryFrame returns a binary message. data is copied.
func BinaryFrame(data []byte) *Frame { return nil }

// Uncompressed returns a frame of the same message that is never compressed. It shares f's memory.
func (f *Frame) Uncompressed() *Frame { return nil }

// Len is the size of the plain WebSocket form in bytes: what the frame counts for in a queue.
func (f *Frame) Len() int { return len(f.wire) }

// Data returns the message, which is read-only.
func (f *Frame) Data() []byte { return nil }

// Binary tells whether the message is binary.
func (f *Frame) Binary() bool { return f.binary }
