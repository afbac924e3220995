package botwire

import "encoding/json"

// Fields of a request, which is an entry of a stream.
const (
	FieldID       = "id"       // unique; the reply repeats it
	FieldMethod   = "method"   // one of the methods
	FieldArgs     = "args"     // JSON
	FieldReplyTo  = "reply_to" // channel on which the node hears the answer
	FieldDeadline = "deadline" // Unix milliseconds
)

// Methods of requests.
const (
	MethodFetch     = "fetch"
	MethodAll       = "all"
	MethodSearch    = "search"
	MethodInterpret = "interpret"
)

// Reply is one message of a worker to a node: a part of an answer, or an error. A worker of another make may leave out
// Worker and Part; ID and OK are required.
type Reply struct {
	ID     *string         `json:"id"`
	OK     *bool           `json:"ok"`
	Result json.RawMessage `json:"result,omitempty"`
	Error  *ReplyError     `json:"error,omitempty"`
	More   bool            `json:"more"`             // further parts follow
	Worker string          `json:"worker,omitempty"` // names the attempt whose parts belong together
	Part   *int            `json:"part,omitempty"`   // number of the part, from 0
}

// ReplyError is a worker's refusal.
type ReplyError struct {
	Code int    `json:"code"`    // follows HTTP
	Word string `json:"message"` // stable, for programs
}
