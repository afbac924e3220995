package test_test

import (
	"os"
	"os/exec"
	"path"
	"regexp"
	"strings"
	"testing"
	"unicode/utf8"
)

const width, tab = 120, 4 // columns

// wide is how many lines of a directory are still wider. It only ever shrinks: wrap what you touch, and lower the
// number.
var wide = map[string]int{"engine": 40, "engine/internal/eio": 35, "engine/internal/ws": 12, "engine/internal/payload": 5, "integration": 12}

// TestWidth fails for lines that are wider than they should be. Tables, code and addresses in Markdown can't be broken,
// nor can long texts in Go and the tags of a struct's fields.
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
	markdown, fenced, raw := strings.HasSuffix(name, ".md"), false, false
	for line := range strings.SplitSeq(text, "\n") {
		if markdown && strings.HasPrefix(line, "```") {
			fenced = !fenced
		}
		begunRaw := raw
		if !markdown && !strings.Contains(line, "//") && strings.Count(line, "`")%2 == 1 {
			raw = !raw
		}
		columns := utf8.RuneCountInString(line) + strings.Count(line, "\t")*(tab-1)
		switch {
		case columns <= width:
		case markdown && (fenced || unbreakable(line)):
		case !markdown && (begunRaw || raw || strings.HasSuffix(line, "\"`") || longText.MatchString(line)):
		default:
			found = append(found, line)
		}
	}
	return found
}

// longText is a text of Go that leaves little room on a line for anything else.
var longText = regexp.MustCompile("\"([^\"\\\\]|\\\\.){60,}\"|`[^`]{60,}`")

// unbreakable reports whether a line of Markdown is a row of a table, code, or one word.
func unbreakable(line string) bool {
	return strings.HasPrefix(line, "|") || strings.HasPrefix(line, "    ") ||
		!strings.Contains(strings.TrimSpace(line), " ")
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
