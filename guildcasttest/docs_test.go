package guildcasttest_test

import (
	"os"
	"strings"
	"testing"
)

// The pages show tests that are files here.
func TestPages(t *testing.T) {
	for page, tests := range map[string]map[string]string{
		"docs/reference/testing.md":    {"go": "page_test.go", "js": "../clients/testserver/test/page.test.js"},
		"clients/testserver/README.md": {"js": "../clients/testserver/test/page.test.js"},
	} {
		text, err := os.ReadFile("../" + page)
		if err != nil {
			t.Fatal(err)
		}
		for lang, path := range tests {
			file, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			_, block, shown := strings.Cut(string(text), "\n```"+lang+"\n")
			block, _, _ = strings.Cut(block, "```\n")
			if !shown || block == "" || !strings.HasSuffix("\n"+string(file), "\n"+block) {
				t.Errorf("%s does not show the end of %s", page, path)
			}
		}
	}
}
