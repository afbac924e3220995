package history

import (
	"context"
	"errors"
	"fmt"
	"strings"

	goredis "github.com/redis/go-redis/v9"
)

// Errors that callers branch on with errors.Is. They wrap their cause.
var (
	// ErrUnreadable reports that Redis refuses the history, and will until an operator acts: the key does not hold a
	// stream (WRONGTYPE), or the user has no rights (NOPERM).
	ErrUnreadable = errors.New("redis refuses the history")
	// ErrUnavailable reports that Redis is away or can't do it now. An event may have been published all the same.
	ErrUnavailable = errors.New("redis is unavailable")
)

// refused are parts of the errors that Redis will go on to return. A script's error may contain them anywhere.
var refused = []string{
	"WRONGTYPE", "NOPERM", "The user executing the script", "unknown command", "Unknown Redis command",
}

// because wraps err with op and one of the errors above, or with op alone if the caller's context was canceled.
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
