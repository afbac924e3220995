// Package docblock reads the code blocks of the README and the documents, so that tests run them.
package docblock

import (
	"bufio"
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// Block is one fenced code block. A comment in the line before it says how a test treats it: <!-- not run: reason -->,
// or <!-- serves --> for commands that run until they are stopped.
type Block struct {
	Page   string // path below the root, with slashes
	Line   int    // of the fence
	Lang   string
	Info   string // what follows the language: of json, the event that it shows
	Text   string // with a newline at its end
	NotRun string // the reason
	Serves bool
}

func (b Block) String() string { return fmt.Sprintf("%s:%d", b.Page, b.Line) }

// pages are what a reader meets; results and test data are none.
var pages = []string{
	"*.md", "docs/*.md", "docs/reference/*.md", "docs/decisions/*.md", "bench/README.md", "examples/*/README.md",
}

// All returns the blocks of all pages below root.
func All(root string) (all []Block, err error) {
	for _, pattern := range pages {
		names, err := filepath.Glob(filepath.Join(root, pattern))
		if err != nil {
			return nil, err
		}
		for _, name := range names {
			page, err := filepath.Rel(root, name)
			if err != nil {
				return nil, err
			}
			text, err := os.ReadFile(name)
			if err != nil {
				return nil, err
			}
			blocks, err := parse(filepath.ToSlash(page), string(text))
			if err != nil {
				return nil, err
			}
			all = append(all, blocks...)
		}
	}
	return all, nil
}

// parse reads a page. A block without a fence is an error: nothing says its language. So is one without a language.
func parse(page, text string) (blocks []Block, err error) {
	var open *Block
	previous := ""
	scanner := bufio.NewScanner(strings.NewReader(text))
	for n := 1; scanner.Scan(); n++ {
		line := scanner.Text()
		fence, isFence := strings.CutPrefix(line, "```")
		switch {
		case open != nil && isFence:
			blocks, open = append(blocks, *open), nil
		case open != nil:
			open.Text += line + "\n"
		case isFence:
			open = &Block{Page: page, Line: n}
			open.Lang, open.Info, _ = strings.Cut(fence, " ")
			if open.Lang == "" {
				return nil, fmt.Errorf("%s:%d: a code block without a language", page, n)
			}
			open.NotRun, open.Serves = mark(previous)
		case previous == "" && strings.HasPrefix(line, "    ") && strings.TrimSpace(line) != "":
			return nil, fmt.Errorf("%s:%d: a code block without a fence", page, n)
		}
		previous = line
	}
	if open != nil {
		return nil, fmt.Errorf("%s: a code block that does not end", open)
	}
	return blocks, scanner.Err()
}

func mark(line string) (notRun string, serves bool) {
	comment, ok := strings.CutPrefix(line, "<!-- ")
	comment, ok2 := strings.CutSuffix(comment, " -->")
	if !ok || !ok2 {
		return "", false
	}
	if reason, ok := strings.CutPrefix(comment, "not run: "); ok {
		return reason, false
	}
	return "", comment == "serves"
}
