package history

import (
	"context"
	"errors"
	"fmt"
	"strings"

	goredis "github.com/redis/go-redis/v9"
)

// Errors that callers branch on, with errors.Is. They come with their cause.
var (
	// ErrUnreadable reports that Redis refuses the history, and will until somebody changes that: the key holds
	// something else than a stream (WRONGTYPE), or the user has no rights (NOPERM).
	ErrUnreadable = errors.New("redis refuses the history")
	// ErrUnavailable reports that Redis is away, or can't do it now. What was being published may have been published.
	ErrUnavailable = errors.New("redis is unavailable")
)

// refused are parts of Redis's errors that do not pass by themselves. In a script's error they may stand anywhere.
var refused = []string{
	"WRONGTYPE", "NOPERM", "The user executing the script", "unknown command", "Unknown Redis command",
}

// because returns err as the cause of one of the errors above or, if the caller has given up, err itself.
func because(op string, err error) error {
	if errors.Is(err, context.Canceled) {
		return fmt.Errorf("%s: %w", op, err)
	}
	var reply goredis.Error
	if errors.As(err, &reply) {
		for _, part := range refused {
			if strings.Contains(reply.Error(), part) {
				return fmt.Errorf("%s: %w: %w", op, ErrUnreadable, err)
			}
		}
	}
	return fmt.Errorf("%s: %w: %w", op, ErrUnavailable, err)
}
