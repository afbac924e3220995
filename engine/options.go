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

// Options of a server, beyond those of the library. The zero value works; a limit that is zero or negative has its
// default.
type Options struct {
	// Logger receives what an operator must know; nil discards.
	Logger *slog.Logger

	// MaxAttachments bounds the binary attachments of a packet. Default 10, as in Node.js.
	MaxAttachments int
	// MaxJSONDepth bounds the nesting of a packet's JSON. Default 128.
	MaxJSONDepth int
	// MaxDecodedBytes bounds what a packet's JSON takes in memory when it is decoded, by an estimate from its values
	// and names that is never too low. Default 16 times MaxHttpBufferSize, that is 16 MB. A CONNECT may take 256 KiB.
	MaxDecodedBytes int
	// MaxDecodingBudget bounds what the events take that are decoded, or in the hands of their listeners, at the same
	// time on the server, in bytes by the same estimate. Default 64 MiB for events of up to 64 KiB, and as much for
	// larger ones. While it is spent the next event waits; a client whose event has waited for 10 s is disconnected.
	// Events of up to 4 KiB and acknowledgements never wait.
	MaxDecodingBudget int
	// MaxNamespaces bounds the namespaces that a client is connected to at the same time. Default 100. A CONNECT to
	// more is refused.
	MaxNamespaces int
	// MaxInboundBytes bounds what a client has sent and no handler has taken, in bytes (a packet counts for its size
	// plus 64). Default 8 MiB. From 256 KiB on nothing more is read from the client, unless the server waits for one of
	// its acknowledgements, which may be behind what is queued; a client that comes to the limit then is disconnected.
	// The attachments of a packet that waits for others count as well.
	MaxInboundBytes int
	// MaxInboundBudget bounds what all clients together have sent and no handler has taken, in bytes, beyond 8 KiB for
	// each: packets that wait for their turn or for attachments, WebSocket messages and POST bodies that are arriving,
	// and compressed messages, which count for what they may become before they are inflated. Default 64 MiB. While
	// half of it is spent, clients of which a packet waits are not read, unless the server waits for one of their
	// acknowledgements. A compressed message waits for room; after a second, and whenever the budget is spent, the
	// clients that hold the most are disconnected.
	MaxInboundBudget int

	// Admit, if not nil, is asked about every event of a client before its JSON is decoded, in the socket's order and
	// on the goroutine that would run the listeners. An event for which it returns false is dropped. Rate limits and
	// size limits belong here: decoded, a message may take fifty times its size. With a parser of the user's own it is
	// not asked. Acknowledgements are not events.
	//
	// Without Admit, too, an event of more than 512 bytes is not decoded if its socket has no listener for it, no "any"
	// listener and no middleware.
	Admit func(s *socket.Socket, in Incoming) bool

	// AdmitSession, if not nil, is asked before an Engine.IO session is made. If it returns no release, the request is
	// answered 503, with Retry-After. Else release is called once, when the session has closed or could not be made. It
	// must not block.
	AdmitSession func(r *http.Request) (release func(), retryAfter time.Duration)

	// OnPanic, if not nil, is called when a listener of an event, an "any" listener, a middleware of socket.Use, an
	// acknowledgement's function or Admit panics, with the value of the panic and its stack. The client is disconnected
	// (transport error), and the program goes on. s may be nil. By default a panic ends the program. It does so anyway
	// where the library calls on a goroutine of its own: listeners of "connection" and "disconnect", middlewares of a
	// namespace.
	OnPanic func(s *socket.Socket, v any, stack []byte)

	// CompressFlagged compresses only messages that are sent with the compress flag, where permessage-deflate is on. By
	// default all messages above its threshold are compressed, as in Node: the library can't tell Compress(false) from
	// no flag.
	CompressFlagged bool

	// Flushers is the number of goroutines that write to WebSockets. Default: half of GOMAXPROCS, at least 1. More do
	// not make a burst cheaper: the rest of the processors produce what is coalesced into one write.
	Flushers int
	// DisablePoller makes every WebSocket have a reader goroutine, as it has with TLS and outside Linux anyway.
	DisablePoller bool
	// MaxQueueBytes bounds what waits to be sent to one client. Default 16 MiB. A client that is behind as much is
	// disconnected.
	MaxQueueBytes int
	// MaxQueueBudget bounds what waits to be sent to all clients together. Default 512 MiB. While it is spent, a client
	// with more than 1 MiB waiting is disconnected when more is sent to it.
	MaxQueueBudget int

	// ClientFiles holds the files of the browser client (socket.io.js, socket.io.min.js, their maps, ...), which are
	// served under the server's path if the library's option ServeClient is set. Default: the directory client-dist
	// beside that of the executable, as with the library.
	ClientFiles fs.FS
}

// Limits of the inbox, in bytes: from maxInbound on a client is not read, below maxResume it is again.
const (
	maxInbound = 256 << 10
	maxResume  = maxInbound / 2
)

// decodedFactor times the option MaxHttpBufferSize is the default of MaxDecodedBytes.
const decodedFactor = 16

// DefaultOptions returns the defaults of the options that are numbers. MaxDecodedBytes is not among them: it follows
// from MaxHttpBufferSize.
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
