package docblock

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/alicebob/miniredis/v2"
)

// TestGo compiles and runs the Go blocks.
func TestGo(t *testing.T) {
	files, err := Program(all(t))
	if err != nil {
		t.Fatal(err)
	}
	const dir = "internal/test/docblock/program" // of the overlay: a package of this module that is nowhere
	program := filepath.Join(t.TempDir(), "program")
	build := exec.Command("go", "build", "-overlay", overlay(t, dir, files), "-o", program, "./"+dir)
	build.Dir = root
	build.Env = append(os.Environ(), "CGO_ENABLED=0") // as make builds all that is not for the race detector
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	// Some blocks run until their context ends, and others must do their work before: a busy machine gets more time.
	for atMost := time.Second; ; atMost *= 8 {
		out, err := exec.Command(program, miniredis.RunT(t).Addr(), atMost.String()).CombinedOutput()
		if err == nil {
			return
		}
		if atMost > 30*time.Second {
			t.Fatalf("%v\n%s", err, out)
		}
	}
}

// overlay writes files aside, and returns the file that shows them to go build in a directory below root.
func overlay(t *testing.T, dir string, files map[string]string) string {
	t.Helper()
	abs, err := filepath.Abs(filepath.Join(root, dir))
	if err != nil {
		t.Fatal(err)
	}
	tmp := t.TempDir()
	replace := map[string]string{}
	write := func(name string, data []byte) string {
		path := filepath.Join(tmp, name)
		if err := os.WriteFile(path, data, 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	for name, text := range files {
		replace[filepath.Join(abs, name)] = write(name, []byte(text))
	}
	data, err := json.Marshal(map[string]any{"Replace": replace})
	if err != nil {
		t.Fatal(err)
	}
	return write("overlay.json", data)
}
