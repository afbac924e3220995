package redis

import (
	"context"
	"testing"

	"github.com/architus/guildcast/internal/test/redistest"
	goredis "github.com/redis/go-redis/v9"
)

// quiet keeps what go-redis says about servers that the tests have killed out of their output.
type quiet struct{}

func (quiet) Printf(context.Context, string, ...any) {}

func TestMain(m *testing.M) {
	goredis.SetLogger(quiet{})
	redistest.Main(m)
}
