package redis

import (
	"cmp"
	"context"
	"errors"
	"log/slog"
	"net"
	"regexp"
	"strings"

	goredis "github.com/redis/go-redis/v9"

	"github.com/architus/guildcast/internal/throttle"
)

// LogRefusals logs each command of client that Redis refuses (NOPERM, OOM, MISCONF, NOREPLICAS, WRONGTYPE and so on):
// once a minute for each command, kind of key and reason, with Redis's own words. Call it once for a client, before the
// client is used. Refused subscriptions are logged by their bus.
func LogRefusals(client goredis.UniversalClient, log *slog.Logger) {
	client.AddHook(&refusals{log: cmp.Or(log, slog.New(slog.DiscardHandler))})
}

// refusals is the hook of a client that logs refusals.
type refusals struct {
	log   *slog.Logger
	lines throttle.Minutely[refusal]
}

// refusal identifies a log line.
type refusal struct{ command, key, code string }

// DialHook does nothing.
func (r *refusals) DialHook(next goredis.DialHook) goredis.DialHook {
	return func(ctx context.Context, network, addr string) (net.Conn, error) { return next(ctx, network, addr) }
}

// ProcessHook notes the result of one command.
func (r *refusals) ProcessHook(next goredis.ProcessHook) goredis.ProcessHook {
	return func(ctx context.Context, cmd goredis.Cmder) error {
		err := next(ctx, cmd)
		r.note(cmd, err)
		return err
	}
}

// ProcessPipelineHook notes the results of many.
func (r *refusals) ProcessPipelineHook(next goredis.ProcessPipelineHook) goredis.ProcessPipelineHook {
	return func(ctx context.Context, cmds []goredis.Cmder) error {
		err := next(ctx, cmds)
		for _, cmd := range cmds {
			r.note(cmd, cmd.Err())
		}
		return err
	}
}

// ordinary are the error codes that are no refusals: the caller acts on them, or they pass.
var ordinary = map[string]bool{
	"NOGROUP": true, "BUSYGROUP": true, "NOSCRIPT": true, "MOVED": true, "ASK": true, "TRYAGAIN": true, "LOADING": true,
	"CLUSTERDOWN": true, "MASTERDOWN": true,
}

func (r *refusals) note(cmd goredis.Cmder, err error) {
	var refused goredis.Error
	if err == nil || errors.Is(err, goredis.Nil) || !errors.As(err, &refused) {
		return // nil is no error, and a lost connection is logged by the bus
	}
	code, _, _ := strings.Cut(refused.Error(), " ")
	if ordinary[code] || code != strings.ToUpper(code) {
		return // no refusal, or an error of go-redis, which has no code
	}
	name := strings.ToUpper(cmd.FullName())
	if strings.HasPrefix(name, "CLIENT") || name == "HELLO" {
		return // go-redis tries these on every server, and an older one does not know them
	}
	about := refusal{command: name, key: keyPattern(cmd), code: code}
	if r.lines.Allow(about) {
		r.log.Warn("redis refuses a command", "command", about.command, "key", about.key, "err", refused.Error())
	}
}

var digits = regexp.MustCompile(`\d+`)

// keyPattern returns the first argument of a command with * in place of ids, or "" if there is none.
func keyPattern(cmd goredis.Cmder) string {
	args := cmd.Args()
	first := 1
	if strings.Contains(cmd.FullName(), " ") { // a command with a subcommand
		first = 2
	}
	if len(args) <= first {
		return ""
	}
	key, _ := args[first].(string)
	if strings.HasPrefix(key, "guildcast:replies:") {
		return "guildcast:replies:*"
	}
	return digits.ReplaceAllString(key[:min(len(key), 100)], "*")
}
