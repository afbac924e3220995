package event_test

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"

	"go.uber.org/goleak"

	"github.com/architus/guildcast/event"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var (
	guildTopic = event.Topic{Guild: "607637793107345431"}
	logsTopic  = event.Topic{Guild: "607637793107345431", Logs: true}
)

func TestParseEnvelope(t *testing.T) {
	data := `{"event":"pulse", "kind":"auto_response","private":true,"requires":["VIEW_SETTINGS", 8],
		"other":[{"}":"\""}], "payload": {"b": 1.0,  "a":"\u0041" } }`
	e, err := event.Parse(guildTopic, []byte(data))
	if err != nil {
		t.Fatal(err)
	}
	if e.Name != "pulse" || e.Kind != "auto_response" || !e.Private || e.Topic != guildTopic {
		t.Errorf("parsed %+v", e)
	}
	if r := e.Requires; len(r.Names) != 1 || r.Names[0] != "VIEW_SETTINGS" || r.Bits != 8 || r.Unclear {
		t.Errorf("requires %+v", r)
	}
	if want := `{"b": 1.0,  "a":"\u0041" }`; string(e.Payload) != want {
		t.Errorf("payload is %s, not byte for byte %s", e.Payload, want)
	}
}

func TestParseDefaults(t *testing.T) {
	for topic, want := range map[event.Topic]string{guildTopic: "log_pool", logsTopic: "log_other"} {
		e, err := event.Parse(topic, []byte(`{"payload":null}`))
		if err != nil || e.Name != want || e.Kind != "" || e.Private || string(e.Payload) != "null" {
			t.Errorf("%v: %+v, %v", topic, e, err)
		}
	}
}

func TestParseLogAction(t *testing.T) {
	data := ` {"id":"9","guild_id":"607637793107345431","action_number":2001,"private":false,"data":{"before":null}} `
	e, err := event.Parse(logsTopic, []byte(data))
	if err != nil {
		t.Fatal(err)
	}
	if e.Name != "log_other" || e.Kind != "member" || string(e.Payload) != data {
		t.Errorf("parsed %+v", e)
	}
	for _, guild := range []string{`607637793107345431`, `null`, `"607637793107345431"`} {
		if _, err := event.Parse(logsTopic, []byte(`{"guild_id":`+guild+`,"action_number":1}`)); err != nil {
			t.Errorf("guild_id %s: %v", guild, err)
		}
	}
	if e, err := event.Parse(logsTopic, []byte(`{"action_number":9999}`)); err != nil || e.Kind != "" {
		t.Errorf("an unknown action has kind %q, %v", e.Kind, err)
	}
}

func TestParseRefuses(t *testing.T) {
	for data, want := range map[string]event.Reason{
		``:                                event.NotJSON,
		`nonsense`:                        event.NotJSON,
		`[]`:                              event.NotJSON,
		`"{}"`:                            event.NotJSON,
		`{"payload":1} {}`:                event.NotJSON,
		`{"payload":1`:                    event.NotJSON,
		"{\"payload\":\"\xff\"}":          event.NotJSON,
		`{}`:                              event.BadField,
		`{"kind":"member"}`:               event.BadField,
		`{"kind":5,"payload":1}`:          event.BadField,
		`{"kind":null,"payload":1}`:       event.BadField,
		`{"private":"true","payload":1}`:  event.BadField,
		`{"private":1,"payload":1}`:       event.BadField,
		`{"private":null,"payload":1}`:    event.BadField,
		`{"Private":true,"payload":1}`:    event.BadField,
		`{"kınd":"x","REQUIRES":1}`:       event.BadField,
		`{"require\u017f":8,"payload":1}`: event.BadField,
		`{"private":true,"private":false,"payload":1}`:              event.BadField,
		`{"kind":"internal","kind":"member","payload":1}`:           event.BadField,
		`{"priv\u0061te":true,"private":false,"payload":1}`:         event.BadField,
		`{"action_number":"1"}`:                                     event.BadField,
		`{"action_number":-1}`:                                      event.BadField,
		`{"action_number":1.5}`:                                     event.BadField,
		`{"action_number":null}`:                                    event.BadField,
		`{"action_number":1,"kind":"guild"}`:                        event.BadField,
		`{"action_number":1,"payload":{}}`:                          event.BadField,
		`{"action_number":1,"guild_id":"1"}`:                        event.WrongGuild,
		`{"action_number":1,"guild_id":1}`:                          event.WrongGuild,
		`{"event":"connect","payload":1}`:                           event.BadName,
		`{"event":"disconnect","payload":1}`:                        event.BadName,
		`{"event":"error","payload":1}`:                             event.BadName,
		`{"event":"","payload":1}`:                                  event.BadName,
		`{"event":null,"payload":1}`:                                event.BadName,
		`{"event":7,"payload":1}`:                                   event.BadName,
		`{"event":"a\nb","payload":1}`:                              event.BadName,
		`{"event":"` + strings.Repeat("x", 129) + `","payload":1}`:  event.BadName,
		`{"payload":"` + strings.Repeat("x", event.MaxBytes) + `"}`: event.TooLarge,
	} {
		_, err := event.Parse(guildTopic, []byte(data))
		var pe *event.ParseError
		if !errors.As(err, &pe) || pe.Reason != want {
			t.Errorf("%.80s: %v, want %s", data, err, want)
		}
	}
}

func TestParseRequires(t *testing.T) {
	type result struct {
		names   string
		bits    uint64
		unclear bool
	}
	for raw, want := range map[string]result{
		`[]`:                   {},
		`0`:                    {},
		`256`:                  {bits: 256},
		`18446744073709551615`: {bits: 1<<64 - 1},
		`18446744073709551616`: {bits: 1<<64 - 1, unclear: true},
		`"VIEW_SETTINGS"`:      {names: "VIEW_SETTINGS"},
		`["A","A",2,4]`:        {names: "A,A", bits: 6},
		`["A",null]`:           {names: "A", unclear: true},
		`[["A"]]`:              {unclear: true},
		`null`:                 {unclear: true},
		`false`:                {unclear: true},
		`-1`:                   {unclear: true},
		`1.5`:                  {unclear: true},
		`1e2`:                  {unclear: true},
		`{}`:                   {unclear: true},
	} {
		e, err := event.Parse(guildTopic, []byte(`{"payload":1,"requires":`+raw+`}`))
		got := result{strings.Join(e.Requires.Names, ","), e.Requires.Bits, e.Requires.Unclear}
		if err != nil || got.unclear != want.unclear || got.names != want.names ||
			!want.unclear && got.bits != want.bits {
			t.Errorf("%s: %+v, %v; want %+v", raw, got, err, want)
		}
	}
}

func TestKindOfAction(t *testing.T) {
	// The table of the contract, section 5, written out number by number.
	table := map[string][]uint64{
		"guild": {1, 2000}, "channel": {10, 11, 12, 13, 14, 15}, "moderation": {20, 21, 22, 23, 26, 27},
		"member": {24, 25, 2001, 2002}, "integration": {28, 80, 81, 82}, "role": {30, 31, 32}, "invite": {40, 41, 42},
		"webhook": {50, 51, 52}, "emoji": {60, 61, 62, 3400, 3401, 3402, 3403},
		"message":  {72, 73, 74, 75, 3001, 3002, 3003, 2003, 2004, 2005},
		"reaction": {2006, 2007, 2008, 3100, 3101}, "interaction": {2009}, "auto_response": {3200, 3201, 3202, 3203},
		"administrator": {3300, 3301},
	}
	want := map[uint64]string{}
	for kind, numbers := range table {
		for _, n := range numbers {
			want[n] = kind
		}
	}
	for n := range uint64(5000) {
		if got := event.KindOfAction(n); got != want[n] {
			t.Errorf("action %d is of kind %q, want %q", n, got, want[n])
		}
	}
}

func TestTopics(t *testing.T) {
	for _, prefix := range []string{"", "prod:", "1", "_logs"} {
		for _, topic := range []event.Topic{{Guild: "1"}, {Guild: "12345678901234567890", Logs: true}, {Guild: "0"}} {
			got, ok := event.ParseChannel(prefix, topic.Channel(prefix))
			if !ok || got != topic {
				t.Errorf("%+v under %q came back as %+v, %v", topic, prefix, got, ok)
			}
		}
	}
	for _, channel := range []string{
		"", "_logs", "1_log", "1_logs_logs", "x1", "1x", "-1", "１", "123456789012345678901", " 1",
	} {
		if topic, ok := event.ParseChannel("", channel); ok {
			t.Errorf("%q was taken for %+v", channel, topic)
		}
	}
	if _, ok := event.ParseChannel("prod:", "123"); ok {
		t.Error("a channel without the prefix was taken for a topic")
	}
	if room := event.AuthRoom("abc"); room != "abc_auth" {
		t.Errorf("room is %q", room)
	}
}

// FuzzParse checks what must hold for any input: no panic, a payload that is a part of the message, and arguments that
// decode to that payload in both forms.
func FuzzParse(f *testing.F) {
	f.Add([]byte(`{"event":"e","kind":"member","private":true,"requires":["VIEW_SETTINGS"],` +
		`"payload":{"a":"\u2028\\\"\n"}}`))
	f.Add([]byte(`{"id":"1","guild_id":"607637793107345431","action_number":3001,"data":{}}`))
	f.Add([]byte(` { "payload" : [1,{"x":"}"}] , "b":"\\" } `))
	f.Fuzz(func(t *testing.T, data []byte) {
		e, err := event.Parse(guildTopic, data)
		if err != nil {
			var pe *event.ParseError
			if !errors.As(err, &pe) || pe.Reason == "" {
				t.Fatalf("untyped error %v", err)
			}
			return
		}
		var object map[string]json.RawMessage
		if err := json.Unmarshal(data, &object); err != nil {
			t.Fatalf("accepted what encoding/json refuses: %v", err)
		}
		if _, log := object["action_number"]; !log && string(object["payload"]) != string(e.Payload) {
			t.Fatalf("payload %q, encoding/json says %q", e.Payload, object["payload"])
		}
		var args []json.RawMessage
		if err := json.Unmarshal(e.AppendArgs(nil, false), &args); err != nil || len(args) != 2 {
			t.Fatalf("object form: %v", err)
		}
		var strs []string
		if err := json.Unmarshal(e.AppendArgs(nil, true), &strs); err != nil ||
			strs[0] != e.Name || strs[1] != string(e.Payload) {
			t.Fatalf("string form: %v %q", err, strs)
		}
	})
}

func BenchmarkParse(b *testing.B) {
	data := []byte(`{"kind":"auto_response","private":false,"payload":{"id":"4","trigger":"hi","response":"` +
		strings.Repeat("hey ", 40) + `"}}`)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := event.Parse(guildTopic, data); err != nil {
			b.Fatal(err)
		}
	}
}

// TestPublished reads ts, which must not decide anything.
func TestPublished(t *testing.T) {
	for text, want := range map[string]int64{
		"1790000000123": 1790000000123, "0": 0, "-1": 0, "1.5": 0, `"1790000000123"`: 0, "null": 0, "{}": 0,
		"99999999999999999999": 0,
	} {
		for _, message := range []string{
			`{"ts":` + text + `,"kind":"member","payload":{}}`, `{"action_number":24,"ts":` + text + `}`,
		} {
			e, err := event.Parse(event.Topic{Guild: "1"}, []byte(message))
			if err != nil || e.Published != want || e.Kind != event.KindMember {
				t.Errorf("%s: %+v, %v", message, e, err)
			}
		}
	}
}
