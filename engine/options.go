package engine

import (
	"cmp"
	"io/fs"
	"log/slog"
	"net/http"
	"runtime"
	"time"

	"github.com/zishang520/socket.io/v2/socket"

	"github.com/architus/guildcast/engine/internal/eio"
	"github.com/architus/guildcast/internal/defaults"
)

// Options are the options of a server beyond those of the library. The zero value works. A limit that is zero or
// negative means its default.
type Options struct {
	// Logger receives what an operator must know; nil discards.
	Logger *slog.Logger

	// MaxAttachments bounds the number of a packet's binary attachments. Default 10, as in Node.js.
	MaxAttachments int
	// MaxJSONDepth bounds the nesting of a packet's JSON. Default 128.
	MaxJSONDepth int
	// MaxDecodedBytes bounds the memory in bytes that a packet's JSON takes when it is decoded. It is estimated from
	// the values and names, and never underestimated. Default 16 times MaxHttpBufferSize, which makes 16 MB. A CONNECT
	// may take 256 KiB.
	MaxDecodedBytes int
	// MaxDecodingBudget bounds the memory in bytes, by the same estimate, of all events on the server that are being
	// decoded or handled by listeners. Default 64 MiB for events of up to 64 KiB, and as much again for larger ones.
	// While it is spent the next event waits. A client whose event has waited for 10 s is disconnected. Events of up to
	// 4 KiB and acknowledgements never wait.
	MaxDecodingBudget int
	// MaxNamespaces bounds the namespaces that a client is connected to at the same time. Default 100. A further
	// CONNECT is refused.
	MaxNamespaces int
	// MaxInboundBytes bounds the bytes that a client has sent and no handler has taken. A packet counts for its size
	// plus 64; the attachments of an unfinished packet count too. Default 8 MiB. From 256 KiB on the server stops
	// reading from the client, unless it waits for one of the client's acknowledgements, which may come after what is
	// queued. A client that reaches the limit is disconnected.
	MaxInboundBytes int
	// MaxInboundBudget bounds the bytes that all clients together have sent and no handler has taken, beyond 8 KiB for
	// each: packets that wait for their turn or for attachments, and WebSocket messages and POST bodies that are
	// arriving. A compressed message counts for the size to which it may inflate. Default 64 MiB. While half of it is
	// spent, the server does not read from clients that have a packet waiting, unless it waits for one of their
	// acknowledgements. A compressed message waits for room, at most a second. After that, or if the budget is spent,
	// the clients that hold the most are disconnected.
	MaxInboundBudget int

	// Admit, if not nil, is called for every event of a client before its JSON is decoded, in the socket's order, on
	// the goroutine that would run the listeners. If it returns false the event is dropped. Enforce rate and size
	// limits here: a decoded message may take fifty times its size. Admit is not called for acknowledgements, nor if
	// the user has chosen another parser.
	//
	// Even without Admit, an event of more than 512 bytes is not decoded if its socket has no listener for it, no "any"
	// listener and no middleware.
	Admit func(s *socket.Socket, in Incoming) bool

	// AdmitSession, if not nil, is called before an Engine.IO session is made. If it returns a nil release, the request
	// is answered with 503 and Retry-After. Otherwise release is called once, when the session has closed or could not
	// be made. AdmitSession must not block.
	AdmitSession func(r *http.Request) (release func(), retryAfter time.Duration)

	// Busy, if not nil, reports whether a client waits for answers that its listeners had not given when they returned.
	// Handler.Shutdown closes such a client once it has them. Busy must not block.
	Busy func(c *Conn) bool

	// OnPanic, if not nil, is called with the value and the stack of a panic in a listener of an event, an "any"
	// listener, a middleware of socket.Use, an acknowledgement's function, or Admit. The client is disconnected
	// (transport error), and the program goes on. s may be nil. If OnPanic is nil a panic ends the program. So does, in
	// any case, a panic on one of the library's own goroutines: in listeners of "connection" and "disconnect", and in a
	// namespace's middlewares.
	OnPanic func(s *socket.Socket, v any, stack []byte)

	// CompressFlagged compresses only messages that are sent with the compress flag, if permessage-deflate is on. By
	// default all messages above the threshold are compressed, as in Node.js, because the library can't tell
	// Compress(false) from no flag.
	CompressFlagged bool

	// ContextTakeover lets clients keep the window of what they have inflated, if the library's option
	// PerMessageDeflate is set, which is what a Group needs. The server keeps nothing for a connection. By default
	// every message is compressed alone.
	ContextTakeover bool

	// Flushers is the number of goroutines that write to WebSockets. Default half of GOMAXPROCS, at least 1. More do
	// not make a burst cheaper: the other processors produce what one write coalesces.
	Flushers int
	// DisablePoller gives every WebSocket a goroutine that reads. With TLS and outside Linux it has one anyway.
	DisablePoller bool
	// MaxQueueBytes bounds the bytes that wait to be sent to one client. Default 16 MiB. A client that exceeds it is
	// disconnected.
	MaxQueueBytes int
	// MaxQueueBudget bounds the bytes that wait to be sent to all clients together. Default 512 MiB. While it is spent,
	// a client with more than 1 MiB waiting is disconnected when more is sent to it.
	MaxQueueBudget int

	// NodeID, if not empty, begins the ids of all Engine.IO sessions, so that they name their server: NodeIDSize
	// characters of base64url, unlike those of all other servers.
	NodeID string
	// Forward, if not nil, is called for a request of a session that is not here, if its id begins with other
	// characters than NodeID: node. It passes the request on to the server with that NodeID, without the headers that w
	// has already, and copies the answer. If it can't, it returns an error and has answered nothing: the client is told
	// that the session is unknown. Bodies are bounded as ever, and Forward returns http.MaxBytesError if its copying
	// does.
	Forward func(w http.ResponseWriter, r *http.Request, node string) error

	// ClientFiles holds the files of the browser client (socket.io.js, socket.io.min.js, their maps and so on). They
	// are served under the server's path if the library's option ServeClient is set. Default: the directory client-dist
	// beside the executable's directory, as with the library.
	ClientFiles fs.FS
}

// NodeIDSize is the length of Options.NodeID.
const NodeIDSize = eio.NodeIDSize

// Limits of the inbox in bytes. The server stops reading from a client at maxInbound, and reads again below maxResume.
const (
	maxInbound = 256 << 10
	maxResume  = maxInbound / 2
)

// decodedFactor times MaxHttpBufferSize is the default of MaxDecodedBytes.
const decodedFactor = 16

// DefaultOptions returns the defaults of the numeric options, except for MaxDecodedBytes, which follows from
// MaxHttpBufferSize.
func DefaultOptions() Options {
	return Options{
		MaxAttachments: 10, MaxJSONDepth: 128, MaxDecodingBudget: 64 << 20, MaxNamespaces: 100,
		MaxInboundBytes: 8 << 20, MaxInboundBudget: 64 << 20, Flushers: max(1, runtime.GOMAXPROCS(0)/2),
		MaxQueueBytes: eio.DefaultQueueHard, MaxQueueBudget: eio.DefaultQueueBudget,
	}
}

func (o *Options) setDefaults() {
	d := DefaultOptions()
	o.Logger = cmp.Or(o.Logger, slog.New(slog.DiscardHandler))
	o.MaxAttachments = defaults.Positive(o.MaxAttachments, d.MaxAttachments)
	o.MaxJSONDepth = defaults.Positive(o.MaxJSONDepth, d.MaxJSONDepth)
	o.MaxDecodingBudget = defaults.Positive(o.MaxDecodingBudget, d.MaxDecodingBudget)
	o.MaxNamespaces = defaults.Positive(o.MaxNamespaces, d.MaxNamespaces)
	o.MaxInboundBytes = defaults.Positive(o.MaxInboundBytes, d.MaxInboundBytes)
	o.MaxInboundBudget = defaults.Positive(o.MaxInboundBudget, d.MaxInboundBudget)
	o.Flushers = defaults.Positive(o.Flushers, d.Flushers)
	o.MaxQueueBytes = defaults.Positive(o.MaxQueueBytes, d.MaxQueueBytes)
	o.MaxQueueBudget = defaults.Positive(o.MaxQueueBudget, d.MaxQueueBudget)
}
