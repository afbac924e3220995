package node

import (
	"context"
	"fmt"
	"log/slog"
	"strings"
)

// maxLogText bounds a text in the log, in bytes: names, ids, kinds and errors come from clients, publishers and
// workers, who may write megabytes. A stack is ours, and longer.
const (
	maxLogText  = 1 << 10
	maxLogStack = 16 << 10
)

// boundedLog is a handler of log records that cuts every long text in them before the next handler has it.
type boundedLog struct{ slog.Handler }

// boundLog returns a logger that writes to l with every text bounded.
func boundLog(l *slog.Logger) *slog.Logger {
	if _, done := l.Handler().(boundedLog); done {
		return l
	}
	return slog.New(boundedLog{l.Handler()})
}

func (h boundedLog) Handle(ctx context.Context, r slog.Record) error {
	bounded := slog.NewRecord(r.Time, r.Level, cut(r.Message, maxLogText), r.PC)
	r.Attrs(func(a slog.Attr) bool {
		bounded.AddAttrs(boundAttr(a))
		return true
	})
	return h.Handler.Handle(ctx, bounded)
}

func (h boundedLog) WithAttrs(attrs []slog.Attr) slog.Handler {
	return boundedLog{h.Handler.WithAttrs(boundAttrs(attrs))}
}

func (h boundedLog) WithGroup(name string) slog.Handler { return boundedLog{h.Handler.WithGroup(name)} }

func boundAttrs(attrs []slog.Attr) []slog.Attr {
	bounded := make([]slog.Attr, len(attrs))
	for i, a := range attrs {
		bounded[i] = boundAttr(a)
	}
	return bounded
}

func boundAttr(a slog.Attr) slog.Attr {
	limit := maxLogText
	if a.Key == "stack" {
		limit = maxLogStack
	}
	switch v := a.Value.Resolve(); v.Kind() {
	case slog.KindString:
		a.Value = slog.StringValue(cut(v.String(), limit))
	case slog.KindGroup:
		a.Value = slog.GroupValue(boundAttrs(v.Group())...)
	case slog.KindAny:
		// What is short stays what it is: handlers may know its type.
		if text := fmt.Sprint(v.Any()); len(text) > limit {
			a.Value = slog.StringValue(cut(text, limit))
		}
	}
	return a
}

// cut returns at most limit bytes of s, and how many it had.
func cut(s string, limit int) string {
	if len(s) <= limit {
		return s
	}
	return fmt.Sprintf("%s... (%d bytes)", strings.ToValidUTF8(s[:limit], ""), len(s))
}
