package adapter

import (
	"testing"

	"github.com/architus/guildcast/internal/test/redistest"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) {
	// A timer of the library, a goroutine each: its own engine leaves some behind when its connections are closed.
	redistest.Main(m, goleak.IgnoreTopFunction("github.com/zishang520/engine.io/v2/utils.SetTimeout.func1"))
}
