package test_test

import (
	"os"
	"os/exec"
	"regexp"
	"strings"
	"testing"
	"unicode/utf8"
)

const width, tab = 120, 4 // columns

// TestWidth fails for lines that are wider than they should be. Tables, code and addresses in Markdown can't be broken,
// nor can long texts in Go and the tags of a struct's fields.
func TestWidth(t *testing.T) {
	cmd := exec.Command("git", "ls-files", "--cached", "--others", "--exclude-standard", "*.go", "*.md")
	cmd.Dir = "../.."
	out, err := cmd.Output()
	if err != nil {
		t.Skipf("not a checkout of git: %v", err)
	}
	for name := range strings.FieldsSeq(string(out)) {
		data, err := os.ReadFile("../../" + name)
		if os.IsNotExist(err) {
			continue // deleted, and not committed yet
		} else if err != nil {
			t.Fatal(err)
		}
		for _, line := range tooWide(name, string(data)) {
			t.Errorf("%s: a line of more than %d columns:\n%s", name, width, line)
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
