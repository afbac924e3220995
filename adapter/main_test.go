package adapter

import (
	"testing"

	"go.uber.org/goleak"

	"github.com/architus/guildcast/internal/test/redistest"
)

func TestMain(m *testing.M) {
	// A timer of the library, a goroutine each: its own engine leaves some behind when its connections are closed.
	redistest.Main(m, goleak.IgnoreTopFunction("github.com/zishang520/engine.io/v2/utils.SetTimeout.func1"))
}
