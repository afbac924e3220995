package engine

import (
	"bytes"
	"errors"
	"fmt"
	"net/url"
	"strconv"
	"strings"
	"sync/atomic"

	"github.com/zishang520/socket.io-go-parser/v2/parser"
)

// ErrPacket reports a Socket.IO packet that breaks the protocol or a limit. It closes the client.
var ErrPacket = errors.New("invalid packet")

// Limits of a packet's header.
const (
	maxNamespaceLen = 8 << 10 // bytes; in revision 3 it includes the auth payload, as a query
	maxAckIDDigits  = 19      // digits of an acknowledgement id, which is a uint64
)

// header is what precedes a packet's JSON. It aliases the bytes from which it was parsed.
type header struct {
	kind        parser.PacketType
	attachments int
	namespace   []byte // empty means "/"
	hasID       bool
	id          uint64
	body        []byte // the JSON, not parsed yet
}

// parseHeader parses the header of a text packet, but not its JSON:
//
//	<kind>[<attachments>-][<namespace>,][<ack id>][<JSON>]
//
// See https://github.com/socketio/socket.io-protocol#packet-encoding.
func parseHeader(data []byte, maxAttachments int) (h header, err error) {
	if len(data) == 0 {
		return h, fmt.Errorf("%w: empty", ErrPacket)
	}
	h.kind = parser.PacketType(data[0])
	if !h.kind.Valid() {
		return h, fmt.Errorf("%w: unknown type %q", ErrPacket, data[0])
	}
	rest := data[1:]
	if h.kind == parser.BINARY_EVENT || h.kind == parser.BINARY_ACK {
		if h.attachments, rest, err = parseAttachments(rest, maxAttachments); err != nil {
			return h, err
		}
	}
	if len(rest) > 0 && rest[0] == '/' {
		h.namespace, rest, _ = bytes.Cut(rest, []byte{','})
		if len(h.namespace) > maxNamespaceLen {
			return h, fmt.Errorf("%w: namespace of %d bytes", ErrPacket, len(h.namespace))
		}
		if len(h.namespace) == 1 {
			h.namespace = nil
		}
	}
	digits := 0
	for digits < len(rest) && '0' <= rest[digits] && rest[digits] <= '9' {
		digits++
	}
	if digits > 0 {
		if digits > maxAckIDDigits {
			return h, fmt.Errorf("%w: acknowledgement id of %d digits", ErrPacket, digits)
		}
		for _, d := range rest[:digits] {
			h.id = h.id*10 + uint64(d-'0')
		}
		h.hasID = true
	}
	h.body = rest[digits:]
	return h, nil
}

func parseAttachments(data []byte, limit int) (n int, rest []byte, err error) {
	count, rest, ok := bytes.Cut(data, []byte{'-'})
	if !ok || len(count) == 0 || len(count) > 9 {
		return 0, nil, fmt.Errorf("%w: illegal attachments", ErrPacket)
	}
	for _, d := range count {
		if d < '0' || d > '9' {
			return 0, nil, fmt.Errorf("%w: illegal attachments", ErrPacket)
		}
		n = n*10 + int(d-'0')
	}
	if n < 1 {
		return 0, nil, fmt.Errorf("%w: illegal attachments", ErrPacket)
	}
	if n > limit {
		return 0, nil, fmt.Errorf("%w: %d attachments, at most %d are allowed", ErrPacket, n, limit)
	}
	return n, rest, nil
}

// namespaceOf returns the name of a packet's namespace, as the library computes it. Clients of revision 3 append a
// query, which is their auth payload.
func (h *header) namespaceOf(protocol int) (string, error) {
	if len(h.namespace) == 0 {
		return "/", nil
	}
	name := string(h.namespace)
	if protocol != 3 || !strings.ContainsAny(name, "?%#:") && !strings.HasPrefix(name, "//") {
		return name, nil
	}
	u, err := url.Parse(name)
	if err != nil || u.Path == "" {
		return "", fmt.Errorf("%w: namespace %.64q", ErrPacket, name)
	}
	return u.Path, nil
}

// packet is one Socket.IO packet on its way to a handler. Its JSON is decoded by the worker that handles it.
type packet struct {
	kind      parser.PacketType
	hasID     bool
	id        uint64
	namespace string   // its name
	connect   string   // CONNECT only: the namespace as the client wrote it
	body      []byte   // owned
	bins      [][]byte // attachments, owned
	missing   int      // attachments that have not arrived yet
	size      int      // bytes that the packet counts for in the inbox
	taken     bool     // listeners have it, so inbound does not count it. Guarded by the inbox.
	again     bool     // CONNECT only: the namespace was not connected when it came, but may be by now

	decoded *parser.Packet // set if the user's own parser has decoded the packet
	run     func()         // if set, this is not a packet but a function to run in its turn
	next    *packet        // next in the lane; guarded by the inbox
}

// packetOverhead is what a queued packet counts for beyond its bytes, in bytes.
const packetOverhead = 64

// assembler joins a packet's text and its attachments. The reader of one connection owns it; other goroutines only drop
// what it holds.
type assembler struct {
	pending atomic.Pointer[packet] // a packet that waits for attachments, or nil
}

var (
	errTextInBinary = fmt.Errorf("%w: got plaintext data when reconstructing a packet", ErrPacket)
	errBinaryAlone  = fmt.Errorf("%w: got binary data when not reconstructing a packet", ErrPacket)
)

// text takes a text message. It returns the packet if that is complete, or nil if attachments must follow. It keeps
// data.
func (a *assembler) text(data []byte, protocol, maxAttachments int) (*packet, error) {
	if a.pending.Load() != nil {
		return nil, errTextInBinary
	}
	h, err := parseHeader(data, maxAttachments)
	if err != nil {
		return nil, err
	}
	p := &packet{
		kind: h.kind, hasID: h.hasID, id: h.id, missing: h.attachments,
		body: h.body, size: len(data) + packetOverhead,
	}
	if p.namespace, err = h.namespaceOf(protocol); err != nil {
		return nil, err
	}
	if h.kind == parser.CONNECT {
		p.connect = p.namespace
		if len(h.namespace) > len(p.namespace) {
			p.connect = string(h.namespace) // including the query
		}
	}
	if p.missing > 0 {
		a.pending.Store(p)
		return nil, nil
	}
	return p, nil
}

// binary takes an attachment. It returns the packet if that is complete now, or nil. It keeps data.
func (a *assembler) binary(data []byte) (*packet, error) {
	p := a.pending.Load()
	if p == nil {
		return nil, errBinaryAlone
	}
	p.bins = append(p.bins, data)
	p.size += len(data)
	if p.missing--; p.missing > 0 {
		return nil, nil
	}
	a.pending.Store(nil)
	return p, nil
}

// appendHeader appends the header of an outgoing packet.
func appendHeader(b []byte, kind parser.PacketType, attachments int, namespace string, id *uint64) []byte {
	b = append(b, byte(kind))
	if kind == parser.BINARY_EVENT || kind == parser.BINARY_ACK {
		b = strconv.AppendInt(b, int64(attachments), 10)
		b = append(b, '-')
	}
	if namespace != "" && namespace != "/" {
		b = append(b, namespace...)
		b = append(b, ',')
	}
	if id != nil {
		b = strconv.AppendUint(b, *id, 10)
	}
	return b
}
