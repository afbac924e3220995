package traffic

import (
	"encoding/json"
	"strings"
	"testing"
)

func TestEvent(t *testing.T) {
	for _, c := range []struct{ packet, wrong string }{
		{`["resync",{"guild_id":"1","reason":"redis_lost"}]`, ""},
		{`["resync","{\"guild_id\":\"1\",\"reason\":\"redis_lost\"}"]`, ""},
		{`["resync",{"guild_id":1,"reason":"redis_lost"}]`, "at /guild_id: got number, want string"},
		{`["resync",{"guild_id":"1"}]`, "at /: missing property 'reason'"},
		{`["resync",{"guild_id":"1","reason":"redis_lost","x":1}]`, "at /: additional properties 'x' not allowed"},
		{`["resync",{"guild_id":"1","reason":"redis_lost"},1]`, "2 arguments"},
		{`["resync"]`, "0 arguments"},
		{`["interpret_response","{\"guild_id\":1,\"actions\":[]}"]`, "at /: got string, want object"},
		{`["pool_response",{"type":"user","guild_id":null,"data":[{"id":"1"},{"id":7}],"nonexistent":[],"finished":true}]`,
			"at /data/1/id: got number, want string"},
		{`["log_pool",{"any":"thing"}]`, ""},
		{`["log_pool","any text"]`, ""},
		{`["log_pool",1,"5-0"]`, ""},
		{`["log_pool",1,null]`, ""},
		{`["log_pool",1,"5"]`, "position"},
		{`["spectate",{"guild_id":"1"}]`, "event of clients"},
		{`["of_the_bot",1,2,3]`, ""},
	} {
		err := Packet([]byte(c.packet))
		if (err == nil) != (c.wrong == "") || err != nil && !strings.Contains(err.Error(), c.wrong) {
			t.Errorf("%s:\n got %v\nwant %q", c.packet, err, c.wrong)
		}
	}
}

func TestExchange(t *testing.T) {
	const (
		spectating = `{"success":true,"guild_id":"1","include_logs":false,"permissions":0}`
		malformed  = `{"message":"malformed","code":400,"human":"","details":null,"context":["spectate"]}`
		refused    = `{"message":"not_a_member","code":403,"human":"","details":null,"context":["spectate"]}`
	)
	for _, c := range []struct{ request, answer, wrong string }{
		{`{"guild_id":"1"}`, spectating, ""},
		{`{"guild_id":1,"since":null,"include_logs":null}`, spectating, ""},
		{`"{\"guild_id\":1}"`, spectating, ""},
		{`{"guild_id":"1"}`, refused, ""},
		{`{"guild_id":"x"}`, malformed, ""},
		{`{}`, malformed, ""},
		{`{}`, spectating, "accepts what the schema refuses"},
		{`{"guild_id":"1"}`, malformed, "refuses a spectate that the schema allows"},
		{`{"guild_id":"1"}`, `{"success":true}`, "acknowledgement of spectate"},
	} {
		err := Exchange("spectate", []json.RawMessage{[]byte(c.request)}, []json.RawMessage{[]byte(c.answer)})
		if (err == nil) != (c.wrong == "") || err != nil && !strings.Contains(err.Error(), c.wrong) {
			t.Errorf("%s, %s:\n got %v\nwant %q", c.request, c.answer, err, c.wrong)
		}
	}
}

// Each schema compiles.
func TestSchemas(t *testing.T) {
	for name := range protocol().events {
		protocol().schema("events/" + name)
	}
	for _, name := range []string{"guild_event", "log_event", "marker", "history_entry", "revocation", "worker_request",
		"worker_reply", "fetch_args", "all_args", "search_args", "pool_result"} {
		protocol().schema("redis/" + name)
	}
}
