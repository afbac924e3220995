// Command guildcast runs a node of the cluster, and speaks to one.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"strings"
	"syscall"

	goredis "github.com/redis/go-redis/v9"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, os.Interrupt)
	hangups := hangups{ignored: signal.Ignored(syscall.SIGHUP), ch: make(chan os.Signal, 1)}
	signal.Notify(hangups.ch, syscall.SIGHUP)
	signal.Ignore(syscall.SIGPIPE) // the reader of the log may go away; the node stays
	// A second signal ends the process at once, as if the first had not been handled.
	context.AfterFunc(ctx, stop)
	goredis.SetLogger(redisLog{slog.New(slog.DiscardHandler)})
	err := run(ctx, os.Args[1:], os.Environ(), hangups, os.Stdin, os.Stdout, os.Stderr)
	if err != nil {
		fmt.Fprintln(os.Stderr, "guildcast: "+oneLine(err))
	}
	os.Exit(exitCode(err))
}

// hangups are the SIGHUPs of the process.
type hangups struct {
	ignored bool // when the process started, as under nohup
	ch      chan os.Signal
}

// run carries out one command line. env holds NAME=value pairs.
func run(
	ctx context.Context, args, env []string, hangups hangups, stdin io.Reader, stdout, stderr io.Writer,
) error {
	again := func() (invocation, error) { return parse(args, environment(env), stdout) }
	parsed, err := again()
	if err != nil || parsed.command == nil {
		return err
	}
	if _, reloads := parsed.command.(*serve); !reloads && !hangups.ignored {
		var stop context.CancelFunc
		ctx, stop = context.WithCancel(ctx)
		defer stop()
		go func() {
			select {
			case <-hangups.ch:
				stop()
			case <-ctx.Done():
			}
		}()
	}
	err = parsed.command.Run(ctx, terminal{stdin, stdout, stderr, hangups.ch, parsed, again})
	return parsed.locate(err)
}

// command is implemented by the options of each subcommand.
type command interface {
	Run(ctx context.Context, t terminal) error
}

// terminal is what a command reads and writes.
type terminal struct {
	in       io.Reader
	out, err io.Writer
	hangups  <-chan os.Signal // for commands that reload

	invocation                            // what was parsed
	again      func() (invocation, error) // reads the configuration again, with the same flags and variables
}

// usageError is a mistake in the command line or the environment.
type usageError struct{ err error }

func (e usageError) Error() string { return e.err.Error() }
func (e usageError) Unwrap() error { return e.err }

func usagef(format string, args ...any) error { return usageError{fmt.Errorf(format, args...)} }

// exitCode returns 0 if all went well, 2 for mistakes in the configuration, and 1 for everything else.
func exitCode(err error) int {
	if err == nil {
		return 0
	}
	if _, ok := errors.AsType[usageError](err); ok {
		return 2
	}
	return 1
}

// oneLine keeps an error to one line.
func oneLine(err error) string { return strings.Join(strings.Fields(err.Error()), " ") }

// environment maps the names of variables to their values. A variable that is empty counts as not set.
func environment(env []string) map[string]string {
	vars := map[string]string{}
	for _, pair := range env {
		if name, value, ok := strings.Cut(pair, "="); ok && value != "" {
			vars[name] = value
		}
	}
	return vars
}
