package node

import (
	"bytes"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"time"
)

type longValue struct{ text string }

func (v longValue) LogValue() slog.Value { return slog.StringValue(v.text) }

// Whatever a stranger's text is wrapped in, no more than a line of it comes into the log.
func TestLogIsBounded(t *testing.T) {
	long := strings.Repeat("é", 3<<20/2)
	for _, tt := range []struct {
		name string
		log  func(l *slog.Logger)
	}{
		{"string", func(l *slog.Logger) { l.Warn("m", "kind", long) }},
		{"error", func(l *slog.Logger) { l.Warn("m", "err", fmt.Errorf("of a worker: %w", errors.New(long))) }},
		{"list", func(l *slog.Logger) { l.Warn("m", "ids", []string{long, long}) }},
		{"value", func(l *slog.Logger) { l.Warn("m", "v", longValue{long}) }},
		{"group", func(l *slog.Logger) { l.Warn("m", slog.Group("g", "a", slog.GroupValue(slog.String("b", long)))) }},
		{"message", func(l *slog.Logger) { l.Warn(long) }},
		{"with", func(l *slog.Logger) { l.With("kind", long).WithGroup("g").Warn("m") }},
		{"with a group", func(l *slog.Logger) { l.WithGroup("g").Warn("m", "kind", long) }},
		{"stack", func(l *slog.Logger) { l.Warn("m", "stack", long) }},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var out bytes.Buffer
			tt.log(boundLog(slog.New(slog.NewJSONHandler(&out, nil))))
			limit := 2 * maxLogText
			if tt.name == "stack" {
				limit = 2 * maxLogStack
			}
			if out.Len() > limit || !strings.Contains(out.String(), "ééé") ||
				!strings.Contains(out.String(), "bytes)") {
				t.Fatalf("%d bytes in the log: %.200s", out.Len(), out.String())
			}
		})
	}
}

func TestLogKeepsWhatIsShort(t *testing.T) {
	write := func(bound bool) string {
		var out bytes.Buffer
		l := slog.New(slog.NewJSONHandler(&out,
			&slog.HandlerOptions{ReplaceAttr: func(_ []string, a slog.Attr) slog.Attr {
				if a.Key == slog.TimeKey {
					return slog.Attr{}
				}
				return a
			}}))
		if bound {
			l = boundLog(boundLog(l))
		}
		l.With("node", 1).WithGroup("g").Error("what", "n", 7, "d", time.Second, "err", errors.New("x"), "list",
			[]int{1, 2}, "nil", nil)
		return out.String()
	}
	if got, want := write(true), write(false); got != want {
		t.Fatalf("got %s, want %s", got, want)
	}
}
