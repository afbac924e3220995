package adapter

import (
	"encoding/json"
	"testing"

	"github.com/architus/guildcast/adapter/internal/wire"
)

// FuzzDecodeSocket reads what another server says of a socket: the library's users take for granted that all of it is
// there, and it can be passed on.
func FuzzDecodeSocket(f *testing.F) {
	f.Add([]byte(`{"id":"s1","handshake":{"headers":{"host":"x","accept":["a","b"]},"time":"t","address":"::1",
		"xdomain":false,"secure":true,"issued":1700000000000,"url":"/socket.io/","query":{"EIO":"4","a":["1","2"]},"auth":{"token":"t"}},
		"rooms":["s1","r"],"data":{"user":1}}`))
	f.Add([]byte("\x84\xa2id\xa1s\xa9handshake\xc0\xa5rooms\x92\x01\xc0\xa4data\xc4\x01b"))
	f.Add([]byte(`{"id":"s","handshake":{"issued":1e300,"headers":[1],"query":"q","auth":null,"url":null},"rooms":"r"}`))
	f.Fuzz(func(t *testing.T, payload []byte) {
		v, err := wire.Parse(payload)
		if err != nil {
			return
		}
		s, ok := decodeSocket(v)
		if !ok {
			return
		}
		h := s.Handshake()
		if h == nil || h.Headers == nil || h.Query == nil || s.Rooms() == nil || h.Issued < 0 {
			t.Fatalf("%q lacks something: %+v", payload, s)
		}
		text, err := wire.AppendJSON(nil, describe(s))
		if err != nil {
			return // one level deeper than it came
		}
		var again struct {
			ID    string
			Rooms []string
		}
		err = json.Unmarshal(text, &again)
		if err != nil || again.ID != string(s.Id()) || len(again.Rooms) != s.Rooms().Len() {
			t.Fatalf("%q is described as %q: %v", payload, text, err)
		}
	})
}
