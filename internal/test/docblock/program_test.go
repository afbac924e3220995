package docblock

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

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
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	if out, err := exec.Command(program, miniredis.RunT(t).Addr()).CombinedOutput(); err != nil {
		t.Errorf("%v\n%s", err, out)
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
