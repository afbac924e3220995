package handlers

import (
	"bytes"
	"context"
	"encoding/json"
	"time"
	"unicode/utf8"

	"github.com/architus/guildcast/internal/botwire"
)

// interpretFields are the members of a request that interpreters read. Others are not kept.
var interpretFields = [...]string{"action", "guild_id", "message_id", "content", "emoji", "allowed_commands", "silent"}

// onInterpret answers `interpret`, the front page's mock chat, for any socket. A socket's messages are interpreted one
// after another.
func onInterpret(r *request) error {
	return r.interpret(eventInterpretResponse, func(result, id []byte) ([]byte, error) {
		return withID(result, id), nil
	})
}

// interpret has the request's members interpreted, and answers with what shape makes of the result and the _id.
func (r *request) interpret(event string, shape func(result, id []byte) ([]byte, error)) error {
	s := r.session
	content, bad := r.text("content")
	if bad != nil {
		return bad
	}
	if n := s.gateway.limits().Content; n >= 0 && utf8.RuneCountInString(content) > n {
		return tooLarge("content is longer than %d characters.", n)
	}
	var fields map[string]any
	if r.fields != nil {
		fields = map[string]any{}
	}
	for _, name := range interpretFields {
		if v, there := r.fields[name]; there {
			fields[name] = v
		}
	}
	args, err := json.Marshal(fields)
	if err != nil {
		return malformed("The payload is not JSON.")
	}
	deadline := time.Now().Add(s.gateway.config.RequestTimeout)
	place := s.interpreting.enter()
	err = s.start(r, len(args), nil, func(t *task) error {
		defer s.interpreting.leave(place)
		ctx, cancel := context.WithDeadline(t.ctx, deadline)
		defer cancel()
		select {
		case <-place:
		case <-ctx.Done():
			return backendError(ctx.Err())
		}
		result, err := s.gateway.interpret(ctx, args)
		if err != nil {
			return err
		}
		body, err := shape(result, t.id)
		if err == nil {
			t.finish(event, body)
		}
		return err
	})
	if err != nil {
		s.interpreting.leave(place)
	}
	return err
}

// interpret asks the embedded interpreter or, if there is none, the backend.
func (g *Gateway) interpret(ctx context.Context, args []byte) ([]byte, error) {
	if g.interpreter != nil {
		result, err := g.interpreter.InterpretJSON(ctx, args)
		return result, backendError(err)
	}
	var result []byte
	err := g.backend.Do(ctx, "", botwire.MethodInterpret, args, func(part []byte) error {
		result = bytes.Clone(part)
		return nil
	})
	if err == nil && !isObject(result) {
		err = errUnreadable()
	}
	return result, backendError(err)
}

// isObject reports whether v is a JSON object, which can be passed on to a client.
func isObject(v []byte) bool {
	v = bytes.TrimLeft(v, " \t\r\n")
	return len(v) > 0 && v[0] == '{' && json.Valid(v)
}

// withID returns a JSON object with the request's _id, if there is one, before its members.
func withID(object, id []byte) []byte {
	if id == nil {
		return object
	}
	rest := bytes.TrimLeft(bytes.TrimLeft(object, " \t\r\n")[1:], " \t\r\n")
	out := append([]byte(`{"_id":`), id...)
	if rest[0] != '}' {
		out = append(out, ',')
	}
	return append(out, rest...)
}
