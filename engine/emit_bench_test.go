package engine

import (
	"testing"

	"github.com/zishang520/socket.io/v2/socket"
)

// BenchmarkEmitToEmptyRoom is what a broadcast costs before anybody gets it: the library's operator and the encoder.
func BenchmarkEmitToEmptyRoom(b *testing.B) {
	s := serve(b, nil, Options{}, nil)
	args := []any{"hello", map[string]any{"a": 1, "b": "two"}}
	b.ReportAllocs()
	for b.Loop() {
		_ = s.To(socket.Room("nobody")).Emit("e", args...)
	}
}
