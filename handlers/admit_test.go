package handlers_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/architus/guildcast/handlers"
)

// undecodable is JSON that encoding/json can't decode: the number is too large. The engine closes a connection whose
// event it tries to decode.
const undecodable = `{"_id":"7","a":1e999}`

// A refused event is refused before it is decoded, and answered nonetheless.
func TestRefusedBeforeDecoding(t *testing.T) {
	many := strings.Repeat(`{"":0},`, 40_000)
	for _, tt := range []struct {
		name, event, payload string
		limits               handlers.Limits
		before               int // events that use up the burst
		answers              []string
		ack                  string
	}{
		{"unknown", "whatever", undecodable, handlers.Limits{}, 0, nil, `"code":404`},
		{"unknown and large", "whatever", `{"_id":"7","a":[` + many + `1e999]}`, handlers.Limits{}, 0, nil,
			`"code":404`},
		{"too large", "spectate", `{"_id":"7","a":[` + many + `1e999]}`, handlers.Limits{}, 0, []string{"error"},
			`"code":413`},
		{"too large, elevation", "request_elevation", `{"_id":"7","a":[` + many + `1e999]}`, handlers.Limits{}, 0,
			[]string{"request_elevation_return"}, `"code":413`},
		{"too many", "spectate", undecodable, handlers.Limits{SocketRate: 0.001, SocketBurst: 2}, 2, []string{"error"},
			`"code":429`},
		{"too many, elevation", "request_elevation", undecodable, handlers.Limits{SocketRate: 0.001, SocketBurst: 2}, 2,
			[]string{"request_elevation_return", "error"}, `"code":429`},
		{"too many, unknown", "whatever", undecodable, handlers.Limits{SocketRate: 0.001, SocketBurst: 2}, 2,
			[]string{"error"}, `"code":429`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			n := start(t, func(c *handlers.Config, _ *handlers.Parts) { c.Limits = tt.limits })
			c := connect(t, n.server, nil)
			for range tt.before {
				c.emit("demote", map[string]any{})
				c.expect("error")
			}
			ack := c.askRaw(tt.event, tt.payload)
			if !strings.Contains(string(ack), tt.ack) || !strings.Contains(string(ack), `"_id":"7"`) {
				t.Errorf("acknowledged with %s", ack)
			}
			for _, event := range tt.answers {
				if h := c.expect(event); !strings.Contains(string(h.arg), `"_id":"7"`) {
					t.Errorf("got %v", h)
				}
			}
			if got := n.metric("guildcast_client_events_total"); got != float64(tt.before+1) {
				t.Errorf("%v events are counted", got)
			}
			if tt.limits.SocketBurst == 0 { // the connection is alive
				c.emit("demote", map[string]any{})
				c.expect("error")
			}
		})
	}
}

// The payload limit counts decoded bytes, in every form, whether the engine asks first or not.
func TestPayloadLimit(t *testing.T) {
	const limit = 1000
	padded := func(n int) string {
		return `{"_id":"7","a":"` + strings.Repeat("x", n-len(`{"_id":"7","a":""}`)) + `"}`
	}
	quoted := func(n int) string { return `{"_id":"7","a":["` + strings.Repeat(`","`, n/3) + `"]}` }
	small, large := quoted(limit-40), quoted(limit+40)
	for _, tt := range []struct {
		name, payload string
		limit         int
		fits          bool
	}{
		{"string", marshal(padded(limit)), limit, true},
		{"long string", marshal(padded(limit + 1)), limit, false},
		{"string of escapes", marshal(small), limit, true},
		{"long string of escapes", marshal(large), limit, false},
		{"string of unicode escapes", `"{\"_id\":\"7\",\"a\":\"` + strings.Repeat(`\u0061`, limit-40) + `\"}"`,
			limit, true},
		{"long string of unicode escapes", `"{\"_id\":\"7\",\"a\":\"` + strings.Repeat(`\u0061`, limit) + `\"}"`,
			limit, false},
		{"object", padded(limit), limit, true},
		{"long object", padded(limit + 1), limit, false},
		{"more arguments", padded(limit/2) + "," + padded(limit), limit, false},
		{"no limit, string", marshal(padded(5000)), -1, true},
		{"no limit, object", padded(5000), -1, true},
	} {
		for _, form := range []string{"", "decoded"} {
			t.Run(tt.name+form, func(t *testing.T) {
				n := start(t, func(c *handlers.Config, _ *handlers.Parts) { c.Limits.Payload = tt.limit })
				n.decodesAll = form != ""
				if n.decodesAll && (tt.name == "long object" || tt.name == "more arguments") {
					t.Skip("only Admit sees how long an object was")
				}
				ack := string(connect(t, n.server, nil).askRaw("demote", tt.payload))
				ack = strings.ReplaceAll(ack, `\"`, `"`)
				want := `"code":401` // there is no token
				if !tt.fits {
					want = `"code":413`
				}
				if !strings.Contains(ack, want) {
					t.Errorf("acknowledged with %s, want %s", ack, want)
				}
			})
		}
	}
}

func TestAttachmentsCount(t *testing.T) {
	n := start(t, func(c *handlers.Config, _ *handlers.Parts) { c.Limits.Payload = 1000 })
	c := connect(t, n.server, nil)
	for _, tt := range []struct{ size, code int }{{500, 401}, {1000, 413}} {
		c.write(`451-["demote",{"_id":"7","a":{"_placeholder":true,"num":0}}]`)
		if err := c.SendBinary(make([]byte, tt.size)); err != nil {
			t.Fatal(err)
		}
		if got := c.expect("error").as(t); got["code"] != float64(tt.code) || got["_id"] != "7" {
			t.Errorf("%d bytes: got %v", tt.size, got)
		}
	}
}

// The client chooses an event's name: a long one must be neither sent back nor logged whole.
func TestLongNames(t *testing.T) {
	n := start(t, nil)
	c := connect(t, n.server, nil)
	if ack := c.askRaw(strings.Repeat("é", 100_000), `1`); len(ack) > 1000 || !strings.Contains(string(ack), "404") {
		t.Fatalf("acknowledged with %d bytes: %.200s", len(ack), ack)
	}
}

// askRaw emits an event whose payload is this text, and returns the arguments of the acknowledgement.
func (c *client) askRaw(event, payload string) string {
	c.t.Helper()
	return string(c.await(func(id int) { c.write(fmt.Sprintf("42%d[%s,%s]", id, marshal(event), payload)) }))
}
