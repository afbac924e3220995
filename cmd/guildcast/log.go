package main

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"os"
	"time"

	"github.com/lmittmann/tint"
	"golang.org/x/term"
)

// logging is the options of the log.
type logging struct {
	Log      string     `enum:"auto,text,json" default:"auto" placeholder:"FORM" help:"Form of the log on standard error: text, json, or auto for text on a terminal and json otherwise."`
	LogLevel slog.Level `default:"info" placeholder:"LEVEL" help:"Least level that is logged: debug, info, warn, error."`
}

// logger returns a logger, and its level, which may be changed.
func (l logging) logger(w io.Writer) (*slog.Logger, *slog.LevelVar) {
	level := new(slog.LevelVar)
	level.Set(l.LogLevel)
	file, isFile := w.(*os.File)
	isTerminal := isFile && term.IsTerminal(int(file.Fd()))
	if l.Log == "json" || l.Log == "auto" && !isTerminal {
		return slog.New(slog.NewJSONHandler(w, &slog.HandlerOptions{Level: level})), level
	}
	return slog.New(tint.NewTextHandler(w,
		&tint.Options{Level: level, TimeFormat: time.TimeOnly, NoColor: !isTerminal})), level
}

// redisLog logs what the Redis client says about its pool, at debug level only: the callers of the client handle its
// errors.
type redisLog struct{ log *slog.Logger }

// Printf implements the interface that the client's package asks for.
func (l redisLog) Printf(ctx context.Context, format string, v ...any) {
	if l.log.Enabled(ctx, slog.LevelDebug) {
		l.log.DebugContext(ctx, "redis client", "detail", fmt.Sprintf(format, v...))
	}
}
