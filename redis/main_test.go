package redis

import (
	"testing"

	"github.com/architus/guildcast/internal/test/redistest"
)

func TestMain(m *testing.M) { redistest.Main(m) }
