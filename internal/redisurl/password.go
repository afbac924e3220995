package redisurl

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"time"
)

// A password that changes, or that expires, is read anew for each connection.

const (
	maxPassword    = 64 << 10        // bytes
	commandTimeout = 5 * time.Second // of the program that prints a password
)

// passwordFile reads the password from a file.
func passwordFile(name string) func(context.Context) (string, error) {
	return func(context.Context) (string, error) {
		file, err := os.Open(name)
		if err != nil {
			return "", fmt.Errorf("password_file: %w", err)
		}
		defer file.Close()
		data, err := io.ReadAll(io.LimitReader(file, maxPassword+1))
		if err != nil {
			return "", fmt.Errorf("password_file: %w", err)
		}
		password, err := onePassword(data)
		if err != nil {
			return "", fmt.Errorf("password_file: %s: %w", name, err)
		}
		return password, nil
	}
}

// passwordCommand runs a program, which prints the password. What it prints as errors becomes part of ours.
func passwordCommand(program string) func(context.Context) (string, error) {
	return func(ctx context.Context) (string, error) {
		ctx, cancel := context.WithTimeout(ctx, commandTimeout)
		defer cancel()
		command := exec.CommandContext(ctx, program)
		command.WaitDelay = time.Second // for children that keep its output open
		var stdout, stderr limited
		command.Stdout, command.Stderr = &stdout, &stderr
		if err := command.Run(); err != nil {
			if said := strings.Join(strings.Fields(stderr.String()), " "); said != "" {
				return "", fmt.Errorf("password_command: %w: %.200s", err, said)
			}
			return "", fmt.Errorf("password_command: %w", err)
		}
		password, err := onePassword(stdout.Bytes())
		if err != nil {
			return "", fmt.Errorf("password_command: %s: %w", program, err)
		}
		return password, nil
	}
}

// onePassword is the text of a file or program, without a byte order mark and the line break at its end.
func onePassword(data []byte) (string, error) {
	password := strings.TrimRight(strings.TrimPrefix(string(data), "\ufeff"), "\r\n")
	switch {
	case password == "":
		return "", errors.New("no password")
	case len(data) > maxPassword:
		return "", fmt.Errorf("more than %d bytes", maxPassword)
	}
	return password, nil
}

// limited keeps what a password may be long, and a byte more.
type limited struct{ bytes.Buffer }

// Write implements io.Writer. It takes everything, so that the program can end.
func (l *limited) Write(p []byte) (int, error) {
	l.Buffer.Write(p[:min(len(p), maxPassword+1-l.Len())])
	return len(p), nil
}
