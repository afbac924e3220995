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

// LogRefusals has client log each command that Redis refuses (NOPERM, OOM, MISCONF, NOREPLICAS, WRONGTYPE and so on):
// once a minute for each command, kind of key and reason, with Redis's own words. It is called once for a client, before
// it is used. What Topics and other subscriptions are refused is logged by their bus.
func LogRefusals(client goredis.UniversalClient, log *slog.Logger) {
	client.AddHook(&refusals{log: cmp.Or(log, slog.New(slog.DiscardHandler))})
}

// refusals is a hook of a client.
type refusals struct {
	log   *slog.Logger
	lines throttle.Minutely[refusal]
}

// refusal is what a line in the log is about.
type refusal struct{ command, key, code string }

// DialHook changes nothing.
func (r *refusals) DialHook(next goredis.DialHook) goredis.DialHook {
	return func(ctx context.Context, network, addr string) (net.Conn, error) { return next(ctx, network, addr) }
}

// ProcessHook looks at the answer to one command.
func (r *refusals) ProcessHook(next goredis.ProcessHook) goredis.ProcessHook {
	return func(ctx context.Context, cmd goredis.Cmder) error {
		err := next(ctx, cmd)
		r.note(cmd, err)
		return err
	}
}

// ProcessPipelineHook looks at the answers to many.
func (r *refusals) ProcessPipelineHook(next goredis.ProcessPipelineHook) goredis.ProcessPipelineHook {
	return func(ctx context.Context, cmds []goredis.Cmder) error {
		err := next(ctx, cmds)
		for _, cmd := range cmds {
			r.note(cmd, cmd.Err())
		}
		return err
	}
}

// ordinary are the codes of answers that are no refusals: somebody acts on them, or they end by themselves.
var ordinary = map[string]bool{
	"NOGROUP": true, "BUSYGROUP": true, "NOSCRIPT": true, "MOVED": true, "ASK": true, "TRYAGAIN": true, "LOADING": true,
	"CLUSTERDOWN": true, "MASTERDOWN": true,
}

func (r *refusals) note(cmd goredis.Cmder, err error) {
	var refused goredis.Error
	if err == nil || errors.Is(err, goredis.Nil) || !errors.As(err, &refused) {
		return // nil is an answer, and of a connection that is lost the bus tells
	}
	code, _, _ := strings.Cut(refused.Error(), " ")
	if ordinary[code] || code != strings.ToUpper(code) {
		return // an error of the client's own, which has no code
	}
	name := strings.ToUpper(cmd.FullName())
	if strings.HasPrefix(name, "CLIENT") || name == "HELLO" {
		return // with these go-redis tries what an older server does not know
	}
	about := refusal{command: name, key: keyPattern(cmd), code: code}
	if r.lines.Allow(about) {
		r.log.Warn("redis refuses a command", "command", about.command, "key", about.key, "err", refused.Error())
	}
}

var digits = regexp.MustCompile(`\d+`)

// keyPattern is the first argument of a command, with * for the ids in it; "" if it has none.
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
