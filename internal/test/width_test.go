package test_test

import (
	"os"
	"os/exec"
	"path"
	"strings"
	"testing"
	"unicode/utf8"
)

const width, tab = 120, 4 // columns

// wide is how many lines of a directory are still wider. It only ever shrinks: wrap what you touch, and lower the number.
var wide = map[string]int{
	".":                       3,
	"adapter":                 10,
	"adapter/internal/wire":   19,
	"bench":                   33,
	"bus":                     61,
	"cmd/guildcast":           44,
	"engine":                  36,
	"engine/internal/eio":     31,
	"engine/internal/payload": 4,
	"engine/internal/ws":      11,
	"handlers/directory":      4,
	"integration":             90,
	"internal/botwire":        2,
	"internal/demo":           9,
	"internal/js":             10,
	"internal/mockbot":        43,
	"internal/redisurl":       22,
	"internal/search":         12,
	"internal/service":        1,
	"internal/test":           4,
	"internal/test/docblock":  1,
	"internal/test/lifecycle": 6,
	"internal/test/redistest": 3,
	"internal/test/sioclient": 9,
	"internal/test/values":    11,
	"internal/test/wait":      1,
	"node":                    53,
	"permissions":             45,
	"token/jwks":              15,
	"web":                     8,
}

// TestWidth fails for lines that are wider than they should be. Tables, code and addresses in Markdown can't be broken,
// nor can the tags of a struct's fields.
func TestWidth(t *testing.T) {
	cmd := exec.Command("git", "ls-files", "--cached", "--others", "--exclude-standard", "*.go", "*.md")
	cmd.Dir = "../.."
	out, err := cmd.Output()
	if err != nil {
		t.Skipf("not a checkout of git: %v", err)
	}
	lines := map[string][]string{}
	for name := range strings.FieldsSeq(string(out)) {
		data, err := os.ReadFile("../../" + name)
		if os.IsNotExist(err) {
			continue // deleted, and not committed yet
		} else if err != nil {
			t.Fatal(err)
		}
		for _, line := range tooWide(name, string(data)) {
			lines[path.Dir(name)] = append(lines[path.Dir(name)], name+": "+line)
		}
	}
	for dir, found := range lines {
		if len(found) > wide[dir] {
			t.Errorf("%s has %d lines of more than %d columns, %d are allowed:\n%s",
				dir, len(found), width, wide[dir], strings.Join(found, "\n"))
		}
	}
}

func tooWide(name, text string) (found []string) {
	markdown, fenced := strings.HasSuffix(name, ".md"), false
	for line := range strings.SplitSeq(text, "\n") {
		if markdown && strings.HasPrefix(line, "```") {
			fenced = !fenced
		}
		columns := utf8.RuneCountInString(line) + strings.Count(line, "\t")*(tab-1)
		if columns > width && !(markdown && (fenced || unbreakable(line))) && !strings.HasSuffix(line, "\"`") {
			found = append(found, line)
		}
	}
	return found
}

// unbreakable reports whether a line of Markdown is a row of a table, code, or one word.
func unbreakable(line string) bool {
	return strings.HasPrefix(line, "|") || strings.HasPrefix(line, "    ") || !strings.Contains(strings.TrimSpace(line), " ")
}

func TestTooWide(t *testing.T) {
	long := strings.Repeat("word ", 25)
	for _, tt := range []struct {
		name, text string
		want       int
	}{
		{"a.go", strings.Repeat("é", 120), 0},
		{"a.go", "\t" + strings.Repeat("x", 117), 1},
		{"a.go", long + "`json:\"x\"`", 0},
		{"a.md", long + "\n| " + long + "\n```sh\n" + long + "\n```\n" + long, 2},
	} {
		if got := tooWide(tt.name, tt.text); len(got) != tt.want {
			t.Errorf("%s %.40q: %d lines", tt.name, tt.text, len(got))
		}
	}
}
