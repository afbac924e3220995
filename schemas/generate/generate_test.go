package main

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"
)

const root = "../.."

// What is generated is committed, so that nobody needs the generator to read or use it.
func TestFilesAreUpToDate(t *testing.T) {
	files, err := generate(filepath.Join(root, "schemas", "source"))
	if err != nil {
		t.Fatal(err)
	}
	for name, want := range files {
		got, err := os.ReadFile(filepath.Join(root, filepath.FromSlash(name)))
		if err != nil || !bytes.Equal(got, want) {
			t.Errorf("%s is not what schemas/source says (%v): run go generate ./schemas", name, err)
		}
	}
	for _, dir := range []string{"events", "redis", "entities"} {
		paths, _ := filepath.Glob(filepath.Join(root, "schemas", "json", dir, "*"))
		for _, path := range paths {
			name, _ := filepath.Rel(root, path)
			if files[filepath.ToSlash(name)] == nil {
				t.Errorf("%s is no longer generated: remove it", name)
			}
		}
	}
}
