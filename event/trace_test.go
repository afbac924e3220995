package event

import (
	"strings"
	"testing"
)

const parent = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"

func TestWithTraceparent(t *testing.T) {
	large := `{"payload":"` + strings.Repeat("x", MaxBytes-20) + `"}`
	for message, want := range map[string]string{
		`{"payload":{}}`:                                  `{"traceparent":"` + parent + `","payload":{}}`,
		` { "kind":"x","payload":1}`:                      `{"traceparent":"` + parent + `", "kind":"x","payload":1}`,
		`{"traceparent":"x","payload":{}}`:                `{"traceparent":"x","payload":{}}`,
		`{"action_number":3100,"guild_id":"7","data":{}}`: `{"action_number":3100,"guild_id":"7","data":{}}`,
		large: large,
	} {
		topic := Topic{Guild: "7"}
		e, err := Parse(topic, []byte(message))
		if err != nil {
			t.Errorf("%.100s: %v", message, err)
			continue
		}
		got := e.WithTraceparent([]byte(message), parent)
		if string(got) != want {
			t.Errorf("%.100s: got %.200s", message, got)
		}
		again, err := Parse(topic, got)
		if err != nil || string(again.Payload) != string(e.Payload) && len(e.Payload) != len(message) {
			t.Errorf("%.100s: the payload was %s, and is %s, %v", message, e.Payload, again.Payload, err)
		}
		if strings.HasPrefix(want, `{"traceparent":"00`) && string(again.Traceparent) != parent {
			t.Errorf("%.100s: traceparent %s", message, again.Traceparent)
		}
	}
}

// A traceparent steers nothing: whatever it is, the event is the same.
func TestOddTraceparents(t *testing.T) {
	for _, raw := range []string{`""`, `null`, `5`, `"\u0030"`, `{"kind":"x"}`, `["a"]`} {
		e, err := Parse(Topic{Guild: "7"}, []byte(`{"traceparent":`+raw+`,"kind":"guild","payload":{}}`))
		if err != nil || e.Kind != "guild" || string(e.Payload) != "{}" {
			t.Errorf("%s: %+v, %v", raw, e, err)
		}
	}
}
