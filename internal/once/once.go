// Package once runs commands that Redis must not run twice. go-redis sends a command again if the connection was lost
// before the answer came, and Redis may have run it by then.
package once

import (
	"context"
	"errors"

	"github.com/redis/go-redis/v9"
)

// Cmd marks a command, so that go-redis sends it once.
func Cmd(c *redis.Cmd) redis.Cmder { return unrepeated{c} }

type unrepeated struct{ *redis.Cmd }

// NoRetry reports that go-redis must not send the command again.
func (unrepeated) NoRetry() bool { return true }

// Failed takes note that a command failed that was sent once. A client of a cluster then looks for the server that has
// taken the place of a lost one. go-redis does so only before it sends a command again, or once a minute.
func Failed(client redis.UniversalClient, err error) {
	var reply redis.Error
	if err == nil || errors.As(err, &reply) {
		return // Redis has answered
	}
	if c, ok := client.(interface{ ReloadState(context.Context) }); ok {
		c.ReloadState(context.Background())
	}
}
