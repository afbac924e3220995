package main

import (
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// TestSystemdUnit checks what deploy/guildcast.service starts, and that it gives a node the time to drain.
func TestSystemdUnit(t *testing.T) {
	data, err := os.ReadFile("../../deploy/guildcast.service")
	if err != nil {
		t.Fatal(err)
	}
	unit := string(data)

	command, ok := strings.CutPrefix(unitSetting(t, unit, "ExecStart"), "/usr/local/bin/guildcast ")
	if !ok {
		t.Fatal("the unit starts another program")
	}
	credentials := t.TempDir()
	secret := []byte("0123456789abcdef0123456789abcdef\n")
	if err := os.WriteFile(filepath.Join(credentials, "jwt"), secret, 0o600); err != nil {
		t.Fatal(err)
	}
	command = strings.ReplaceAll(command, "${CREDENTIALS_DIRECTORY}", credentials)
	parsed, err := parse(strings.Fields(command), nil, io.Discard)
	if err != nil {
		t.Fatal(err)
	}
	s, ok := parsed.command.(*serve)
	if !ok {
		t.Fatalf("the unit starts %T", parsed.command)
	}
	if secrets, err := s.secrets(); err != nil || len(secrets) != 1 {
		t.Errorf("the unit's secret is read as %d secrets, %v", len(secrets), err)
	}

	stop, err := time.ParseDuration(unitSetting(t, unit, "TimeoutStopSec") + "s")
	if want := s.DrainDelay + s.Grace + 15*time.Second; err != nil || stop < want {
		t.Errorf("TimeoutStopSec is %v (%v); draining may take %v", stop, err, want)
	}
	if signal := unitSetting(t, unit, "KillSignal"); signal != "SIGTERM" {
		t.Errorf("KillSignal is %s", signal)
	}
}

// TestSystemdUnderstandsTheUnit has systemd look for what it would ignore.
func TestSystemdUnderstandsTheUnit(t *testing.T) {
	analyze, err := exec.LookPath("systemd-analyze")
	if err != nil {
		t.Skip("systemd-analyze is not installed")
	}
	data, err := os.ReadFile("../../deploy/guildcast.service")
	if err != nil {
		t.Fatal(err)
	}
	program, err := os.Executable() // it has to be there
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "guildcast.service")
	unit := strings.ReplaceAll(string(data), "/usr/local/bin/guildcast", program)
	if err := os.WriteFile(path, []byte(unit), 0o600); err != nil {
		t.Fatal(err)
	}
	out, err := exec.Command(analyze, "verify", "--man=no", path).CombinedOutput()
	if err != nil || strings.Contains(string(out), "guildcast.service") { // it succeeds with a setting that it ignores
		t.Errorf("systemd-analyze verify: %v\n%s", err, out)
	}
}

// unitSetting is the value of a setting that a unit has once.
func unitSetting(t *testing.T, unit, name string) string {
	t.Helper()
	var values []string
	for line := range strings.Lines(unit) {
		if value, ok := strings.CutPrefix(line, name+"="); ok {
			values = append(values, strings.TrimSpace(value))
		}
	}
	if len(values) != 1 {
		t.Fatalf("the unit has %s %d times", name, len(values))
	}
	return values[0]
}
