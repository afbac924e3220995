package redis

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"unicode"
	"unicode/utf8"

	"github.com/architus/guildcast/internal/botwire"
)

const (
	// maxParts bounds the parts of one answer.
	maxParts = 10_000
	// maxAttempts bounds the attempts whose parts are kept for one request. One worker is alive, and few can have died
	// before it.
	maxAttempts = 4
	// maxWord bounds the word of a worker's error, in bytes.
	maxWord = 200
)

// reply is one message of a worker: one part of an answer, or an error.
type reply struct {
	id     string
	worker string // names the attempt; "" if the worker doesn't say
	part   int    // -1 if the worker doesn't number its parts
	more   bool
	result []byte
	err    *Error // not nil if the worker has refused the request
	size   int    // bytes of the message
}

// decodeReply decodes a reply. It does not alias data.
func decodeReply(data []byte) (reply, error) {
	var j botwire.Reply
	if err := json.Unmarshal(data, &j); err != nil {
		return reply{}, fmt.Errorf("decode reply: %w", err)
	}
	r := reply{worker: j.Worker, part: -1, more: j.More, result: j.Result, size: len(data)}
	switch {
	case j.ID == nil:
		return reply{}, errors.New("decode reply: no id")
	case j.OK == nil:
		return reply{}, errors.New("decode reply: no ok")
	case len(j.Worker) > maxWord:
		return reply{}, errors.New("decode reply: the worker's name is too long")
	case j.Part != nil && (*j.Part < 0 || *j.Part >= maxParts):
		return reply{}, errors.New("decode reply: impossible part")
	}
	r.id = *j.ID
	if j.Part != nil {
		r.part = *j.Part
	}
	if r.result == nil {
		r.result = []byte("null")
	}
	if !*j.OK {
		r.err = newError(botwire.WordInternal)
		if j.Error != nil {
			r.err = workerError(j.Error.Code, j.Error.Word)
		}
	}
	return r, nil
}

// workerError returns a worker's error in a form that is fit for clients.
func workerError(code int, word string) *Error {
	printable := utf8.ValidString(word)
	for _, c := range word {
		printable = printable && unicode.IsPrint(c)
	}
	if !botwire.ValidCode(code) {
		code = botwire.CodeInternal
	}
	if word == "" || len(word) > maxWord || !printable {
		word = botwire.WordBackendFailed
	}
	return &Error{code: code, word: word}
}

// answer gathers the replies to one request. Several workers may answer: one that was taken for dead, and the one that
// took over. Their parts are never mixed: each attempt is gathered separately, and the first to be complete is the
// answer.
type answer struct {
	attempts map[string]*attempt
	bytes    int // held by all of them
}

// attempt is the parts of one worker's try at a request.
type attempt struct {
	parts    [][]byte // by number; nil for those that have not come yet
	have     int
	last     int // number of the last part, or -1
	numbered bool
	bytes    int
}

// add adds a part. It returns the result once an attempt is complete, and nil before.
func (a *answer) add(r reply) (result [][]byte, err error) {
	t := a.attempts[r.worker]
	if t == nil {
		if len(a.attempts) >= maxAttempts {
			return nil, errors.New("too many workers answer one request")
		}
		if a.attempts == nil {
			a.attempts = map[string]*attempt{}
		}
		t = &attempt{last: -1, numbered: r.part >= 0}
		a.attempts[r.worker] = t
	}
	before := t.bytes
	if t.restarts(r) {
		*t = attempt{last: -1, numbered: r.part >= 0}
	}
	err = t.add(r)
	a.bytes += t.bytes - before
	if err == nil && t.last >= 0 && t.have == t.last+1 {
		return t.parts, nil
	}
	return nil, err
}

// restarts reports whether r begins the same worker's answer anew: a worker that was restarted under the same name
// repeats a part with other content. Parts without numbers are all of one worker; see Requests.rest.
func (t *attempt) restarts(r reply) bool {
	if t.numbered != (r.part >= 0) {
		return true
	}
	return t.numbered && r.part < len(t.parts) && t.parts[r.part] != nil && !bytes.Equal(t.parts[r.part], r.result)
}

func (t *attempt) add(r reply) error {
	n := r.part
	if n < 0 {
		n = len(t.parts)
	}
	switch {
	case n >= maxParts:
		return errors.New("too many parts")
	case t.last >= 0 && n > t.last:
		return errors.New("a part after the last")
	case !r.more && len(t.parts) > n+1:
		return errors.New("the last part is not the last")
	}
	for len(t.parts) <= n {
		t.parts = append(t.parts, nil)
	}
	if t.parts[n] == nil { // else r repeats a part
		t.parts[n] = r.result
		t.have++
		t.bytes += len(r.result)
	}
	if !r.more {
		t.last = n
	}
	return nil
}
