package eio

import (
	"testing"
	"unsafe"
)

// An idle connection is made of these; what they cost is counted in bytes times the number of connections.
func TestSizes(t *testing.T) {
	if n := unsafe.Sizeof(Conn{}); n > 216 {
		t.Errorf("Conn takes %d bytes", n)
	}
	if n := unsafe.Sizeof(wsConn{}); n > 208 {
		t.Errorf("wsConn takes %d bytes", n)
	}
	if n := unsafe.Sizeof(chunk{}); n != 256 && unsafe.Sizeof(uintptr(0)) == 8 {
		t.Errorf("chunk takes %d bytes", n)
	}
	t.Logf("Conn %d, wsConn %d", unsafe.Sizeof(Conn{}), unsafe.Sizeof(wsConn{}))
}
