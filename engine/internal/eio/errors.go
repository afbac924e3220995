package eio

import (
	"errors"
	"net/http"
)

// Reasons for which a session closes, as in engine.io of Node.js.
const (
	ReasonTransportClose = "transport close" // the peer left
	ReasonTransportError = "transport error" // the connection broke, or the peer broke the rules
	ReasonPingTimeout    = "ping timeout"    // no heartbeat
	ReasonForcedClose    = "forced close"    // Close was called
	ReasonParseError     = "parse error"     // a packet could not be parsed
)

// Errors that explain a reason.
var (
	ErrSlowConsumer = errors.New("slow consumer")              // the peer reads too little of what is sent to it
	ErrTooLarge     = errors.New("message too large")          // over Config.MaxHTTPBufferSize
	ErrShutdown     = errors.New("server is shutting down")    // Server.Shutdown has been called
	ErrProtocol     = errors.New("engine.io protocol error")   // wrapped with what was wrong
	ErrDuplicateID  = errors.New("session id is already used") // Config.GenerateID repeated itself
)

// Code says why a request was refused.
type Code int

// The codes of the protocol.
const (
	CodeUnknownTransport Code = iota
	CodeUnknownSID
	CodeBadHandshakeMethod
	CodeBadRequest
	CodeForbidden
	CodeUnsupportedProtocol
)

// String returns the message that goes to the peer.
func (c Code) String() string {
	switch c {
	case CodeUnknownTransport:
		return "Transport unknown"
	case CodeUnknownSID:
		return "Session ID unknown"
	case CodeBadHandshakeMethod:
		return "Bad handshake method"
	case CodeForbidden:
		return "Forbidden"
	case CodeUnsupportedProtocol:
		return "Unsupported protocol version"
	default:
		return "Bad request"
	}
}

// ConnectionError describes a refused request.
type ConnectionError struct {
	Request *http.Request
	Code    Code
	Message string         // what the peer gets to read
	Context map[string]any // details for a log, such as {"name": "TRANSPORT_MISMATCH"}
}

func (e *ConnectionError) Error() string { return e.Message }
