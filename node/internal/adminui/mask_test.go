package adminui

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/zishang520/engine.io/v2/types"
	"github.com/zishang520/socket.io/v2/socket"
)

const token = "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.c2lnbmF0dXJl"

func TestMaskEvent(t *testing.T) {
	for _, c := range []struct{ args, want string }{
		{`["spectate",{"guild_id":"1","token":"opaque"}]`, `["spectate",{"guild_id":"1","token":"********"}]`},
		{`["x",{"a":[{"accessToken":"opaque"}]}]`, `["x",{"a":[{"accessToken":"********"}]}]`},
		{`["x","{\"token\":\"` + token + `\"}"]`, `["x","{\"token\":\"********\"}"]`},
		{`["x",["Bearer ` + token + `"]]`, `["x",["Bearer ********"]]`},
		{`["x",{"` + token + `":1}]`, `["x",{"********":1}]`},
		{`["` + token + `"]`, `["********"]`},
		{`["request_elevation","almost a token"]`, `["request_elevation","********"]`},
		{`["request_elevation",{"token":"x"}]`, `["request_elevation",{"token":"********"}]`},
		{`["pool_response",{"responseTokens":[["a","b"]],"token":7}]`,
			`["pool_response",{"responseTokens":[["a","b"]],"token":7}]`},
		{`["x",1,null,true,"y"]`, `["x",1,null,true,"y"]`},
		{`[]`, `[]`},
	} {
		var args []any
		if err := json.Unmarshal([]byte(c.args), &args); err != nil {
			t.Fatal(err)
		}
		got, err := json.Marshal(maskEvent(args))
		if err != nil || string(got) != c.want {
			t.Errorf("got %s, %v\nwant %s", got, err, c.want)
		}
		again, _ := json.Marshal(args)
		if string(again) != c.args {
			t.Errorf("the event itself was changed to %s", again)
		}
	}
	got := maskEvent([]any{"x", []byte("secret"), types.NewBytesBufferString("secret"), json.RawMessage("1")})
	if got[1] != "(binary)" || got[2] != "(binary)" || got[3] != "(other)" {
		t.Errorf("got %v", got)
	}
}

// What is shown is bounded, whatever an event holds.
func TestMaskBounds(t *testing.T) {
	deep, wide := any("x"), []any{}
	for range 100_000 {
		deep, wide = []any{deep}, append(wide, "x")
	}
	for name, v := range map[string]any{
		"long": strings.Repeat("ä", 1<<20), "deep": deep, "wide": wide,
		"names": map[string]any{strings.Repeat("x", 1<<20): 1},
	} {
		data, err := json.Marshal(maskEvent([]any{"x", v}))
		if err != nil || len(data) > 4*maxShown {
			t.Errorf("%s: %d bytes, %v", name, len(data), err)
		}
	}
}

func TestHandshake(t *testing.T) {
	h := &socket.Handshake{
		Address: "10.0.0.1", Url: "/socket.io/?EIO=4&token=opaque&x=" + token + "&transport=polling",
		Headers: map[string][]string{
			"Cookie": {"a=b"}, "Authorization": {"opaque"}, "X-Api-Token": {"opaque"}, "User-Agent": {"x"},
			"X-Other": {token}, "X-Forwarded-For": {"203.0.113.7"},
		},
		Query: map[string][]string{"token": {"opaque"}, "x": {token}, "EIO": {"4"}},
		Auth:  map[string]any{"token": "opaque"},
	}
	data, err := json.Marshal(handshake(h))
	if err != nil {
		t.Fatal(err)
	}
	for _, secret := range []string{"opaque", token, "a=b"} {
		if strings.Contains(string(data), secret) {
			t.Errorf("%s is in %s", secret, data)
		}
	}
	for _, shown := range []string{`"address":"203.0.113.7"`, `"user-agent":"x"`, `"EIO":"4"`, "transport=polling"} {
		if !strings.Contains(string(data), shown) {
			t.Errorf("%s is not in %s", shown, data)
		}
	}
	if id := clientID("0123456789abcdefghij"); len(id) != 12 || strings.Contains("0123456789abcdefghij", id[:4]) {
		t.Errorf("got %s", id)
	}
}
