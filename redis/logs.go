package redis

import (
	"context"
	"fmt"
	"log/slog"

	goredis "github.com/redis/go-redis/v9"
)

// RouteLogs sends what go-redis has to say (reconnects, elections of Sentinel) to
// log, at level debug, instead of plain lines to standard error. go-redis knows
// one logger for the whole process: it is for a program's main, before Connect.
func RouteLogs(log *slog.Logger) { goredis.SetLogger(clientLog{log}) }

type clientLog struct{ log *slog.Logger }

// Printf implements go-redis's logging interface.
func (l clientLog) Printf(ctx context.Context, format string, v ...any) {
	if l.log.Enabled(ctx, slog.LevelDebug) {
		l.log.DebugContext(ctx, "redis client", "detail", fmt.Sprintf(format, v...))
	}
}
