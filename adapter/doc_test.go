package adapter

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// TestFilesAreListed keeps the list of files in doc.go true.
func TestFilesAreListed(t *testing.T) {
	doc, err := os.ReadFile("doc.go")
	if err != nil {
		t.Fatal(err)
	}
	files, err := filepath.Glob("*.go")
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		name := strings.TrimSuffix(f, ".go")
		if name == "doc" || strings.HasSuffix(name, "_test") {
			continue
		}
		if !regexp.MustCompile(`(?m)^//.*\b` + name + `\b`).Match(doc) {
			t.Errorf("%s is not listed", f)
		}
	}
}
