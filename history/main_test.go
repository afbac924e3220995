package history_test

import (
	"testing"

	"go.uber.org/goleak"

	"github.com/architus/guildcast/internal/test/redistest"
)

// A go-redis pool that could not dial tries again each second, and ends a second after it was closed.
func TestMain(m *testing.M) {
	redistest.Main(m, goleak.IgnoreAnyFunction("github.com/redis/go-redis/v9/internal/pool.(*ConnPool).tryDial"))
}
