package adapter

import (
	"strings"
	"testing"

	"github.com/zishang520/engine.io/v2/types"

	"github.com/architus/guildcast/adapter/internal/wire"
)

// TestLibraryBuffers shows that package wire, which does not import the library, knows its buffers.
func TestLibraryBuffers(t *testing.T) {
	for _, c := range []struct {
		v      any
		json   string
		binary bool
	}{
		{types.NewStringBufferString("text"), `"text"`, false},
		{types.NewBytesBuffer([]byte("b")), `{"type":"Buffer","data":[98]}`, true},
		{(*types.StringBuffer)(nil), "null", false},
		{(*types.BytesBuffer)(nil), "null", false},
		{&types.BytesBuffer{}, "null", false},
		{strings.NewReader("text"), `"text"`, false},
	} {
		if got := wire.HasBinary(c.v); got != c.binary {
			t.Errorf("%T: binary %v", c.v, got)
		}
		if got, err := wire.AppendJSON(nil, c.v); err != nil || string(got) != c.json {
			t.Errorf("%T: got %s, %v, want %s", c.v, got, err, c.json)
		}
	}
}
