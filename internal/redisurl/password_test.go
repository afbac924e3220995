package redisurl

import (
	"context"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"

	goredis "github.com/redis/go-redis/v9"

	"github.com/architus/guildcast/internal/test/redistest"
)

// TestPasswordThatChanges gives Redis another password, and ends the connections that have the old one.
func TestPasswordThatChanges(t *testing.T) {
	dir := t.TempDir()
	file, program := filepath.Join(dir, "password"), filepath.Join(dir, "program")
	script := fmt.Sprintf("#!/bin/sh\nexec cat '%s'\n", file)
	if err := os.WriteFile(program, []byte(script), 0o755); err != nil {
		t.Fatal(err)
	}
	for option, value := range map[string]string{"password_file": file, "password_command": program} {
		t.Run(option, func(t *testing.T) {
			server := redistest.Start(t)
			admin := goredis.NewClient(&goredis.Options{Addr: server.Addr()})
			defer admin.Close()
			ctx := t.Context()
			change := func(password string) {
				t.Helper()
				if err := os.WriteFile(file, []byte("\ufeff"+password+"\r\n"), 0o600); err != nil {
					t.Fatal(err)
				}
				// The connection that sets it stays authenticated.
				_, err := admin.TxPipelined(ctx, func(p goredis.Pipeliner) error {
					p.ConfigSet(ctx, "requirepass", password)
					p.ClientKillByFilter(ctx, "TYPE", "normal", "SKIPME", "yes")
					return nil
				})
				if err != nil {
					t.Fatal(err)
				}
			}
			change("first")
			c, err := Connect("redis://" + server.Addr() + "/0?" + option + "=" + url.QueryEscape(value))
			if err != nil {
				t.Fatal(err)
			}
			defer c.Close()
			if err := c.Client.Ping(ctx).Err(); err != nil {
				t.Fatal(err)
			}
			change("second")
			if err := c.Client.Ping(ctx).Err(); err != nil {
				t.Error(err)
			}
		})
	}
}

func TestBadPasswordSources(t *testing.T) {
	dir := t.TempDir()
	write := func(name, text string, mode os.FileMode) string {
		t.Helper()
		name = filepath.Join(dir, name)
		if err := os.WriteFile(name, []byte(text), mode); err != nil {
			t.Fatal(err)
		}
		return name
	}
	for name, tt := range map[string]struct {
		read func(context.Context) (string, error)
		want string
	}{
		"no file":    {passwordFile(filepath.Join(dir, "none")), "no such file"},
		"empty file": {passwordFile(write("empty", "\n", 0o600)), "no password"},
		"large file": {passwordFile(write("large", strings.Repeat("x", maxPassword+1), 0o600)), "more than"},
		"no program": {passwordCommand(filepath.Join(dir, "none")), "no such file"},
		"failing program": {passwordCommand(write("fails", "#!/bin/sh\necho 'no role' >&2\nexit 3\n", 0o700)),
			"exit status 3: no role"},
		"silent program": {passwordCommand(write("silent", "#!/bin/sh\n", 0o700)), "no password"},
		"endless program": {passwordCommand(write("endless", "#!/bin/sh\nhead -c 1000000 /dev/zero\n", 0o700)),
			"more than"},
	} {
		t.Run(name, func(t *testing.T) {
			if _, err := tt.read(t.Context()); err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("%v, want %q", err, tt.want)
			}
		})
	}
	for _, rawURL := range []string{
		"redis://:p@h?password_file=/f", "redis://h?password_file=/f&password_command=/c", "redis://h?password_file=",
		"embedded://127.0.0.1:0?password_file=/f",
	} {
		if _, err := parseURL(rawURL); err == nil {
			t.Errorf("%s is taken", rawURL)
		}
	}
}
