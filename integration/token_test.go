//go:build integration

package integration

import (
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"
)

// claims of the contract's section 4, with exp an hour from now unless it is given.
func mint(t testing.TB, claims jwt.MapClaims) string {
	t.Helper()
	full := jwt.MapClaims{
		"sub": "214037134477230080", "iat": time.Now().Unix(), "exp": time.Now().Add(time.Hour).Unix(),
	}
	for k, v := range claims {
		full[k] = v
	}
	token, err := jwt.NewWithClaims(jwt.SigningMethodHS256, full).SignedString([]byte(secret))
	if err != nil {
		t.Fatal(err)
	}
	return token
}

// The guild of the tests, and a foreign one.
const (
	guild   = "607637793107345431"
	foreign = "713009421563723777"
)

type guilds = map[string]any

// elevate sends the token in an object and returns once the socket is elevated.
func (c *client) elevate(t testing.TB, token string) {
	t.Helper()
	c.emit(t, "request_elevation", map[string]any{"token": token})
	var answer struct {
		Success bool   `json:"success"`
		Room    string `json:"room"`
	}
	h := c.event(t, "request_elevation_return", &answer)
	if !answer.Success {
		t.Fatalf("not elevated: %v", h)
	}
}

// spectate returns once the node has confirmed.
func (c *client) spectate(t testing.TB, token, guild string, logs bool) {
	t.Helper()
	c.emit(t, "spectate", map[string]any{"guild_id": guild, "include_logs": logs, "token": token})
	var answer struct {
		Success bool `json:"success"`
	}
	h := c.event(t, "spectate_return", &answer)
	if !answer.Success {
		t.Fatalf("not spectating: %v", h)
	}
}
