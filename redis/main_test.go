package redis

import (
	"context"
	"testing"

	goredis "github.com/redis/go-redis/v9"

	"github.com/architus/guildcast/internal/test/redistest"
)

// quiet discards what go-redis logs about servers that the tests have killed.
type quiet struct{}

func (quiet) Printf(context.Context, string, ...any) {}

func TestMain(m *testing.M) {
	goredis.SetLogger(quiet{})
	redistest.Main(m)
}
