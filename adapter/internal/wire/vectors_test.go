package wire

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"os"
	"reflect"
	"strings"
	"testing"
)

// vector is a payload that a real emitter or server wrote, with what Node makes of it.
type vector struct {
	ID, Call, Channel, Policy, Format string
	Payload                           []byte
	Expect                            struct {
		Kind, Nsp, Event string
		UID              string
		Rooms, Except    []string
		Args             []any
		Flags            map[string]any
		Type             any
		RequestID        string `json:"requestId"`
		Sid, Room        string
		Close            bool
		Opts             *struct{ Rooms, Except []string }
	}
}

func vectors(tb testing.TB) []vector {
	tb.Helper()
	text, err := os.ReadFile("../../testdata/vectors.json")
	if err != nil {
		tb.Fatal(err)
	}
	var vs []vector
	if err := json.Unmarshal(text, &vs); err != nil {
		tb.Fatal(err)
	}
	for i := range vs {
		expand(vs[i].Expect.Args)
	}
	return vs
}

// expand writes the long strings out, which the vectors abbreviate.
func expand(args []any) {
	for i, a := range args {
		if m, ok := a.(map[string]any); ok && m["$repeat"] != nil {
			r := m["$repeat"].([]any)
			args[i] = strings.Repeat(r[0].(string), int(r[1].(float64)))
		}
	}
}

// asExpected turns arguments into the notation of the vectors.
func asExpected(t *testing.T, args []byte, attachments [][]byte) []any {
	t.Helper()
	d := json.NewDecoder(strings.NewReader(string(args)))
	d.UseNumber()
	var x []any
	if err := d.Decode(&x); err != nil {
		t.Fatalf("args %q: %v", args, err)
	}
	used := 0
	var walk func(any) any
	walk = func(v any) any {
		switch v := v.(type) {
		case []any:
			for i := range v {
				v[i] = walk(v[i])
			}
		case map[string]any:
			if v["_placeholder"] == true {
				i, _ := v["num"].(json.Number).Int64()
				used++
				return map[string]any{"$bin": base64.StdEncoding.EncodeToString(attachments[i])}
			}
			for k := range v {
				v[k] = walk(v[k])
			}
		case json.Number:
			if f, err := v.Float64(); err == nil && (f >= 1<<53 || f <= -(1<<53)) &&
				!strings.ContainsAny(string(v), "e.") && len(v) < 21 {
				return map[string]any{"$int": string(v)}
			}
			f, _ := v.Float64()
			return f
		}
		return v
	}
	out := walk(x).([]any)
	if used != len(attachments) {
		t.Errorf("%d placeholders for %d attachments", used, len(attachments))
	}
	return out
}

func notNilAny(a []any) []any {
	if a == nil {
		return []any{}
	}
	return a
}

func TestBroadcastVectors(t *testing.T) {
	seen := map[string]int{}
	for _, v := range vectors(t) {
		if v.Expect.Kind != "broadcast" && v.Expect.Kind != "ignore" || strings.Contains(v.Channel, "-request#") {
			continue
		}
		if v.Format == "msgpack (msgpack-js dialect)" { // of 2014, on a channel that no server hears
			continue
		}
		t.Run(v.ID, func(t *testing.T) {
			b, err := DecodeBroadcast(v.Payload)
			var p Packet
			if err == nil {
				p, err = b.Packet()
			}
			if v.Policy == "must_ignore" {
				if err == nil {
					t.Fatalf("%s: accepted", v.Call)
				}
				seen["ignored"]++
				return
			}
			if err != nil {
				t.Fatalf("%s: %s: %v", v.Policy, v.Call, err)
			}
			seen[v.Policy]++
			e := v.Expect
			if p.Nsp != e.Nsp || p.Event != e.Event {
				t.Errorf("nsp %q event %q, want %q %q", p.Nsp, p.Event, e.Nsp, e.Event)
			}
			if !reflect.DeepEqual(notNil(b.Rooms.Names), notNil(e.Rooms)) {
				t.Errorf("rooms %q, want %q", b.Rooms.Names, e.Rooms)
			}
			if b.Rooms.All != (len(e.Rooms) == 0) {
				t.Errorf("all = %v with rooms %q", b.Rooms.All, e.Rooms)
			}
			if !reflect.DeepEqual(notNil(b.Except), notNil(e.Except)) &&
				!strings.Contains(v.Call, "except 'r1' (string)") {
				t.Errorf("except %q, want %q", b.Except, e.Except)
			}
			checkFlags(t, b.Flags, e.Flags)
			args, attachments, err := p.Args()
			if err != nil {
				t.Fatal(err)
			}
			got := asExpected(t, args, attachments)
			if got[0] != e.Event || !reflect.DeepEqual(got[1:], notNilAny(e.Args)) {
				t.Errorf("args %.300v\nwant %.300v", got, e.Args)
			}
			if n := len(p.Values(nil)); n != len(e.Args)+1 {
				t.Errorf("%d Go values", n)
			}
		})
	}
	t.Log(seen)
	if seen["must"] < 214 || seen["ignored"] < 10 {
		t.Errorf("not all vectors were there: %v", seen)
	}
}

func checkFlags(t *testing.T, f Flags, want map[string]any) {
	t.Helper()
	got := map[string]any{}
	for _, x := range f.object() {
		got[x.Key] = x.Value
	}
	for k, w := range want {
		if n, ok := got[k].(int64); ok {
			got[k] = float64(n)
		}
		switch k {
		case "json": // of Socket.IO 1; has no meaning any more
		case "timeout", "volatile", "local", "broadcast", "binary", "expectSingleResponse", "compress":
			if got[k] != w {
				t.Errorf("flag %s = %v, want %v", k, got[k], w)
			}
		}
		delete(got, k)
	}
	if len(got) > 0 {
		t.Errorf("flags %v not expected", got)
	}
}

func TestRequestVectors(t *testing.T) {
	seen := map[string]int{}
	for _, v := range vectors(t) {
		if !strings.Contains(v.Channel, "-request#") {
			continue
		}
		t.Run(v.ID, func(t *testing.T) {
			r, err := DecodeRequest(v.Payload)
			seen[v.Policy]++
			if v.Policy == "must_ignore" {
				if err == nil {
					t.Fatalf("%s: accepted", v.Call)
				}
				return
			}
			if err != nil {
				t.Fatalf("%s: %v", v.Call, err)
			}
			e := v.Expect
			id := r.ID
			if e.Kind == "request-v5" {
				id = r.LegacyID
			}
			if float64(r.Type) != e.Type || id != e.RequestID || r.UID != e.UID {
				t.Errorf("got %+v, want %+v", r, e)
			}
			if r.SID != e.Sid || r.Room != e.Room || r.Close != e.Close {
				t.Errorf("got %+v, want %+v", r, e)
			}
			if e.Rooms != nil && !reflect.DeepEqual(notNil(r.Rooms.Names), e.Rooms) {
				t.Errorf("rooms %q, want %q", r.Rooms.Names, e.Rooms)
			}
			if e.Opts != nil && (r.Options == nil || !reflect.DeepEqual(notNil(r.Options.Rooms.Names), e.Opts.Rooms) ||
				!reflect.DeepEqual(notNil(r.Options.Except), e.Opts.Except)) {
				t.Errorf("opts %+v, want %+v", r.Options, e.Opts)
			}
			if r.LegacyID == "" && r.Type == ServerSideEmit {
				data, _ := r.Data.Go(nil).([]any)
				if len(data) == 0 || data[0] != e.Event || !reflect.DeepEqual(notNilAny(data[1:]), notNilAny(e.Args)) {
					t.Errorf("data %v, want %s %v", data, e.Event, e.Args)
				}
			}
			if r.LegacyID == "" && r.Type == BroadcastAck {
				if p, err := r.Packet(); err != nil || p.Event == "" {
					t.Errorf("packet %+v: %v", p, err)
				}
			}
		})
	}
	t.Log(seen)
	if seen["must"] < 35 {
		t.Errorf("not all vectors were there: %v", seen)
	}
}

func TestResponseVectors(t *testing.T) {
	for _, v := range vectors(t) {
		if v.Expect.Kind != "response" || bytes.Contains(v.Payload, []byte(`"requestid"`)) {
			continue
		}
		r, err := DecodeResponse(v.Payload)
		if err != nil || r.ID != v.Expect.RequestID {
			t.Errorf("%s: %+v: %v", v.ID, r, err)
		}
	}
}
