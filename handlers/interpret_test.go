package handlers_test

import (
	"context"
	"strings"
	"testing"

	"github.com/architus/guildcast/handlers"
)

func TestInterpret(t *testing.T) {
	n := start(t, nil)
	c := connect(t, n.server, nil)
	message := func(id int, content string) map[string]any {
		return map[string]any{"action": 3001, "guild_id": 4211, "message_id": id, "content": content,
			"allowed_commands": []string{"set"}, "_id": id}
	}
	c.emit("interpret", message(2, "!set hi::hey"))
	got := c.expect("interpret_response").as(t)
	if got["_id"] != 2.0 || got["guild_id"] != 4211.0 || len(got["actions"].([]any)) != 1 {
		t.Fatalf("got %v", got)
	}
	// One after the other, however fast they come.
	for i := range 50 {
		c.emit("interpret", message(4+2*i, "hi"))
	}
	for i := range 50 {
		if got := c.expect("interpret_response").as(t); got["_id"] != float64(4+2*i) {
			t.Fatalf("got %v", got)
		}
	}
	// A string is accepted, and answered with an object.
	ack := c.ask("interpret", marshal(message(200, "hi")))
	if h := c.expect("interpret_response"); h.arg[0] != '{' || string(ack) != "["+string(h.arg)+"]" {
		t.Fatalf("got %v and %s", h, ack)
	}
	for _, tt := range []struct {
		payload any
		code    int
	}{
		{map[string]any{}, 400},
		{nil, 400},
		{message(2, strings.Repeat("x", 5000)), 413},
		{map[string]any{"action": 1, "guild_id": 4211, "message_id": 2}, 400},
		{map[string]any{"action": 3001, "guild_id": 10_000_000, "message_id": 2, "content": "x"}, 400},
		{map[string]any{"action": 3001, "guild_id": "x", "message_id": 2, "content": "x"}, 400},
	} {
		c.emit("interpret", tt.payload)
		if e := c.expect("error").as(t); e["code"] != float64(tt.code) {
			t.Errorf("%v: got %v", tt.payload, e)
		}
	}
}

func TestInterpretOfTooMuchWork(t *testing.T) {
	n := start(t, nil)
	c := connect(t, n.server, nil)
	message := func(content string) map[string]any {
		return map[string]any{"action": 3001, "guild_id": 4212, "message_id": 2, "content": content,
			"allowed_commands": []string{"set"}, "_id": 7}
	}
	for _, set := range []string{"!set ^(?:a*){60}x$::y", "!set ^(?:a*){61}x$::y"} {
		c.emit("interpret", message(set))
		if got := string(c.expect("interpret_response").arg); !strings.Contains(got, "✅") {
			t.Fatal(got)
		}
	}
	c.emit("interpret", message(strings.Repeat("a", 2000)))
	if e := c.expect("error").as(t); e["code"] != 429.0 || e["message"] != "message_too_costly" || e["_id"] != 7.0 {
		t.Errorf("got %v", e)
	}
}

func TestInterpretByAWorker(t *testing.T) {
	n := start(t, func(_ *handlers.Config, p *handlers.Parts) { p.Interpreter = nil })
	c := connect(t, n.server, nil)
	for _, tt := range []struct {
		result string
		err    error
		want   string
	}{
		{`{"guild_id":1,"actions":[]}`, nil, `{"_id":7,"guild_id":1,"actions":[]}`},
		{` { "guild_id":1,"actions":[]} `, nil, `{"_id":7,"guild_id":1,"actions":[]} `},
		{`[]`, nil, "503"},
		{`nonsense`, nil, "503"},
		{``, workerError{400, "odd"}, "odd"},
		{``, context.DeadlineExceeded, "504"},
	} {
		n.requests.mu.Lock()
		n.requests.answer = func(_ context.Context, guild, method string, args map[string]any,
			part func(string) error) error {
			if tt.err != nil || method != "interpret" || guild != "" || args["_id"] != nil {
				return tt.err
			}
			return part(tt.result)
		}
		n.requests.mu.Unlock()
		c.emit("interpret", map[string]any{
			"action": 3001, "guild_id": 1, "message_id": 2, "content": "x", "_id": 7,
		})
		h := c.next()
		if got := string(h.arg); h.event == "error" && !strings.Contains(got, tt.want) ||
			h.event != "error" && strings.TrimSpace(got) != strings.TrimSpace(tt.want) {
			t.Errorf("got %v, want %s", h, tt.want)
		}
	}
}
