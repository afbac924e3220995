package test_test

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"
)

const root = "../.."

// TestDecisionsHaveOneForm fails for a decision whose number, form or row in the index is not that of its neighbours.
func TestDecisionsHaveOneForm(t *testing.T) {
	folder := filepath.Join(root, "docs", "decisions")
	pages, err := filepath.Glob(filepath.Join(folder, "[0-9]*.md"))
	if err != nil {
		t.Fatal(err)
	}
	if len(pages) < 36 { // none is ever taken away
		t.Errorf("found only %d decisions", len(pages))
	}
	var rows []string
	for i, path := range pages { // in the order of their numbers
		name := filepath.Base(path)
		number := fmt.Sprintf("%04d", i+1)
		if !strings.HasPrefix(name, number+"-") {
			t.Fatalf("%s is in the place of decision %s", name, number)
		}
		title, status, err := decision(read(t, path), number, len(pages))
		if err != nil {
			t.Errorf("%s: %v", name, err)
		}
		rows = append(rows, fmt.Sprintf("| %s | [%s](%s) | %s |", number, title, name, status))
	}
	index := read(t, filepath.Join(folder, "README.md"))
	have := strings.Split(index, "\n")
	have = slices.DeleteFunc(have, func(line string) bool { return !strings.HasPrefix(line, "| 0") })
	if !slices.Equal(have, rows) {
		t.Errorf("the index does not list the decisions as they are; it should be\n%s", strings.Join(rows, "\n"))
	}
}

var statusForm = regexp.MustCompile(`^Status: (accepted|replaced by \[?(\d{4}).*)$`)

// decision reads a decision's title and status, or says what is wrong with its form.
func decision(page, number string, decisions int) (title, status string, err error) {
	lines := strings.Split(page, "\n")
	if len(lines) < 3 {
		return "", "", fmt.Errorf("has no status")
	}
	title, ok := strings.CutPrefix(lines[0], "# "+number+": ")
	if first, _ := utf8.DecodeRuneInString(title); !ok || unicode.IsLower(first) {
		return title, "", fmt.Errorf("begins with %q, not with # %s: and a title with a capital", lines[0], number)
	}
	match := statusForm.FindStringSubmatch(lines[2])
	if match == nil {
		return title, "", fmt.Errorf("third line is %q, not its status", lines[2])
	}
	if successor := match[2]; successor != "" && (successor <= number || successor > fmt.Sprintf("%04d", decisions)) {
		return title, "", fmt.Errorf("there is no later decision %s", successor)
	}
	var headings []string
	for _, line := range lines[1:] {
		if strings.HasPrefix(line, "# ") || strings.HasPrefix(line, "## ") {
			headings = append(headings, line)
		}
	}
	if !slices.Equal(headings, []string{"## Context", "## Decision", "## Consequences"}) {
		return title, "", fmt.Errorf("headings are %q", headings)
	}
	return title, match[1], nil
}

// TestPagesNameWhatExists fails for a link of a page that leads nowhere, and for a path in backticks that is none.
func TestPagesNameWhatExists(t *testing.T) {
	pages := files(t, ".md")
	if len(pages) < 50 {
		t.Errorf("found only %d pages", len(pages))
	}
	for _, page := range pages {
		if page == filepath.Join(root, "CHANGELOG.md") { // names what was
			continue
		}
		text := withoutBlocks(read(t, page))
		for _, match := range linkForm.FindAllStringSubmatch(codeForm.ReplaceAllString(text, ""), -1) {
			if err := follow(page, match[1]); err != nil {
				t.Errorf("%s links to %s: %v", page, match[1], err)
			}
		}
		for _, match := range pathForm.FindAllStringSubmatch(text, -1) {
			if path := match[1]; isOurs(path) && !exists(filepath.Join(root, path)) {
				t.Errorf("%s names %s, which does not exist", page, path)
			}
		}
	}
}

var (
	linkForm = regexp.MustCompile(`\]\(([^)\s]+)\)`)
	codeForm = regexp.MustCompile("`[^`\n]*`")
	pathForm = regexp.MustCompile("`([A-Za-z0-9_.-]+(?:/[A-Za-z0-9_.-]+)+)/?`")
)

// TestCommentsNamePagesThatExist fails for a page of docs that a Go file names and that does not exist.
func TestCommentsNamePagesThatExist(t *testing.T) {
	named := 0
	for _, path := range files(t, ".go") {
		for _, page := range regexp.MustCompile(`\bdocs/[A-Za-z0-9_/.-]+\.md\b`).FindAllString(read(t, path), -1) {
			named++
			if !exists(filepath.Join(root, page)) {
				t.Errorf("%s names %s, which does not exist", path, page)
			}
		}
	}
	if named == 0 {
		t.Error("no file names a page")
	}
}

// follow returns an error if a link of a page leads to a file or a heading that does not exist.
func follow(page, link string) error {
	if strings.Contains(link, "://") {
		return nil
	}
	path, heading, _ := strings.Cut(link, "#")
	target := page
	if path != "" {
		target = filepath.Join(filepath.Dir(page), path)
	}
	if !exists(target) {
		return fmt.Errorf("there is no such file")
	}
	if heading == "" {
		return nil
	}
	text, err := os.ReadFile(target)
	if err != nil {
		return err
	}
	for line := range strings.Lines(withoutBlocks(string(text))) {
		if strings.HasPrefix(line, "#") && anchor(line) == heading {
			return nil
		}
	}
	return fmt.Errorf("there is no such heading")
}

// anchor is the name under which GitHub links to a heading.
func anchor(heading string) string {
	heading = strings.TrimSpace(strings.TrimLeft(heading, "#"))
	return strings.Map(func(r rune) rune {
		switch {
		case r == ' ':
			return '-'
		case r == '-' || r == '_' || unicode.IsLetter(r) || unicode.IsDigit(r):
			return unicode.ToLower(r)
		}
		return -1
	}, heading)
}

// isOurs reports whether a path begins with a folder of the repository, but for those that are built.
func isOurs(path string) bool {
	first, _, _ := strings.Cut(path, "/")
	if first == "bin" || first == "dist" {
		return false
	}
	info, err := os.Stat(filepath.Join(root, first))
	return err == nil && info.IsDir()
}

// withoutBlocks takes blocks of code between fences out of a page.
func withoutBlocks(page string) string {
	var b strings.Builder
	for i, part := range strings.Split("\n"+page, "\n```") {
		if i%2 == 0 {
			b.WriteString(part)
		}
	}
	return b.String()
}

// files returns the paths of all files of the repository with an extension.
func files(t *testing.T, extension string) (paths []string) {
	t.Helper()
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() && path != root && (strings.HasPrefix(d.Name(), ".") || d.Name() == "node_modules") {
			return filepath.SkipDir
		}
		if filepath.Ext(path) == extension {
			paths = append(paths, path)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return paths
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

func read(t *testing.T, path string) string {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}
