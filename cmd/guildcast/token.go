package main

import (
	"context"
	"fmt"
	"io"
	"maps"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/architus/guildcast/event"
	"github.com/architus/guildcast/permissions"
	"github.com/architus/guildcast/token"
)

// secretOptions say which secrets sign tokens.
type secretOptions struct {
	JwtSecret     string `placeholder:"SECRET" help:"Secret shared with the API that mints tokens (HS256); several with commas between them, or a JSON object of kid to secret."`
	JwtSecretFile string `placeholder:"FILE" help:"File that holds what --jwt-secret would."`
}

func (o secretOptions) secrets() ([]token.Secret, error) {
	text, flag := o.JwtSecret, "--jwt-secret"
	if o.JwtSecretFile != "" {
		if text != "" {
			return nil, usagef("--jwt-secret and --jwt-secret-file exclude each other")
		}
		data, err := os.ReadFile(o.JwtSecretFile)
		if err != nil {
			return nil, usagef("--jwt-secret-file: %w", err)
		}
		text, flag = string(data), "--jwt-secret-file"
	}
	secrets, err := token.ParseSecrets(text)
	if err != nil {
		return nil, usagef("%s: %w", flag, err)
	}
	return secrets, nil
}

// tokenCommand is the command that mints one.
type tokenCommand struct {
	secretOptions
	Sub           string            `required:"" placeholder:"ID" help:"User id."`
	Guild         map[string]string `short:"g" mapsep:"," placeholder:"ID=BITS" help:"Membership of a guild, with the permissions there: a number, 0x..., or names with | between them. Repeatable."`
	Permissions   string            `placeholder:"BITS" help:"Permissions in every guild; 274 if left out."`
	ArchitusAdmin bool              `help:"Member of every guild, with every permission."`
	Jti           string            `placeholder:"ID" help:"Id of the token, to revoke it by."`
	Ttl           time.Duration     `default:"1h" help:"How long the token is good."`
	Kid           string            `help:"Name of the secret to sign with; the first one if left out."`
	Issuer        string            `help:"The iss claim."`
	Audience      string            `help:"The aud claim."`
}

// Run prints the token.
func (c *tokenCommand) Run(_ context.Context, t terminal) error {
	secrets, err := c.secrets()
	if err != nil {
		return err
	}
	var secret *token.Secret
	for i := range secrets {
		if c.Kid == "" || secrets[i].KeyID == c.Kid {
			secret = &secrets[i]
			break
		}
	}
	switch {
	case len(secrets) == 0:
		return usagef("--jwt-secret ($GUILDCAST_JWT_SECRET) is required")
	case secret == nil:
		return usagef("no secret has the kid %q", c.Kid)
	}
	claims, err := c.claims(time.Now())
	if err != nil {
		return err
	}
	return printToken(t.out, *secret, claims)
}

func (c *tokenCommand) claims(now time.Time) (map[string]any, error) {
	guilds := map[string]uint64{}
	for id, text := range c.Guild {
		bits, err := parseBits(text)
		if err != nil || !event.ValidID(id) {
			return nil, usagef("--guild %s=%s: not a guild's id and permissions", id, text)
		}
		guilds[id] = bits
	}
	claims := map[string]any{"sub": c.Sub, "iat": now.Unix(), "exp": now.Add(c.Ttl).Unix(), "guilds": guilds}
	if c.Permissions != "" {
		bits, err := parseBits(c.Permissions)
		if err != nil {
			return nil, usagef("--permissions: %w", err)
		}
		claims["permissions"] = bits
	}
	if c.ArchitusAdmin {
		claims["architus_admin"] = true
	}
	maps.DeleteFunc(claims, func(_ string, v any) bool { return v == "" })
	for name, value := range map[string]string{"jti": c.Jti, "iss": c.Issuer, "aud": c.Audience} {
		if value != "" {
			claims[name] = value
		}
	}
	return claims, nil
}

// parseBits reads a number or names with | between them.
func parseBits(text string) (uint64, error) {
	if bits, err := strconv.ParseUint(text, 0, 64); err == nil {
		return bits, nil
	}
	var all permissions.Bits
	for name := range strings.SplitSeq(text, "|") {
		bit, ok := permissions.BitNamed(strings.TrimSpace(name))
		if !ok {
			return 0, fmt.Errorf("there is no permission %q", name)
		}
		all |= bit
	}
	return uint64(all), nil
}

func printToken(w io.Writer, secret token.Secret, claims map[string]any) error {
	signed, err := token.Sign(secret, claims)
	if err != nil {
		return err
	}
	_, err = fmt.Fprintln(w, signed)
	return err
}
