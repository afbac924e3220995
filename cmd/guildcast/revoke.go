package main

import (
	"context"
	"encoding/json"
	"fmt"
	"strconv"
	"time"

	"github.com/architus/guildcast/internal/redisurl"
	"github.com/architus/guildcast/permissions"
	"github.com/architus/guildcast/redis"
)

// revoke is the command that revokes tokens.
type revoke struct {
	Redis              string        `default:"redis://127.0.0.1:6379" placeholder:"URL" help:"Redis of the cluster."`
	Sub                string        `placeholder:"ID" help:"Tokens of this user."`
	Jti                string        `placeholder:"ID" help:"The token with this id."`
	IatBefore          string        `placeholder:"TIME" help:"Only tokens issued before: now, or Unix seconds. Without it a user is banned, with tokens minted later."`
	RevocationLifetime time.Duration `default:"720h" placeholder:"DURATION" help:"How long the revocation is remembered: the longest life of a token."`
}

// Run stores and publishes, and prints how many nodes heard.
func (c *revoke) Run(ctx context.Context, t terminal) error {
	now := time.Now()
	message, err := c.message(now)
	if err != nil {
		return err
	}
	r, err := permissions.ParseRevocation(message, now, c.RevocationLifetime)
	if err != nil {
		return usageError{err}
	}
	connection, err := redisurl.Connect(c.Redis)
	if err != nil {
		return usagef("--redis: %w", err)
	}
	defer connection.Close()
	ctx, cancel := context.WithTimeout(ctx, commandTimeout)
	defer cancel()
	nodes, err := redis.Revoke(ctx, connection.Client, message, r.Expires)
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(t.out, "stored until %s, %d subscribed\n", r.Expires.UTC().Format(time.RFC3339), nodes)
	return err
}

// message is what is published on guildcast:revoke.
func (c *revoke) message(now time.Time) ([]byte, error) {
	if c.RevocationLifetime <= 0 {
		return nil, usagef("--revocation-lifetime: must be more than 0")
	}
	fields := map[string]any{}
	if c.Sub != "" {
		fields["sub"] = c.Sub
	}
	if c.Jti != "" {
		fields["jti"] = c.Jti
	}
	switch {
	case len(fields) == 0:
		return nil, usagef("--sub or --jti is required")
	case c.IatBefore == "now":
		fields["iat_before"] = now.Unix() + 1 // iat has whole seconds: those of this one count as before
	case c.IatBefore != "":
		seconds, err := strconv.ParseInt(c.IatBefore, 10, 64)
		if err != nil {
			return nil, usagef("--iat-before: neither now nor Unix seconds")
		}
		fields["iat_before"] = seconds
	}
	message, err := json.Marshal(fields)
	if err != nil {
		return nil, fmt.Errorf("encode the revocation: %w", err)
	}
	return message, nil
}
