package guildcasttest_test

import (
	"os"
	"strings"
	"testing"

	"github.com/architus/guildcast/internal/test/docblock"
)

// The page shows a test; it is page_test.go.
func TestPage(t *testing.T) {
	blocks, err := docblock.All("..")
	if err != nil {
		t.Fatal(err)
	}
	file, err := os.ReadFile("page_test.go")
	if err != nil {
		t.Fatal(err)
	}
	shown := 0
	for _, b := range blocks {
		if b.Page != "docs/reference/testing.md" || b.Lang != "go" {
			continue
		}
		shown++
		if !strings.HasSuffix(string(file), "\n"+b.Text) {
			t.Errorf("%s is not the end of page_test.go", b)
		}
	}
	if shown != 1 {
		t.Errorf("the page has %d tests in Go", shown)
	}
}
