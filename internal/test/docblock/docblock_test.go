package docblock

import (
	"encoding/json"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

const root = "../../.."

// run names the tests that run or check the blocks of a language.
var run = map[string]string{
	"go":     "TestGo here",
	"sh":     "TestDocsShell and TestTutorial of integration",
	"js":     "TestDocsProtocol and TestDocsEmitters of integration",
	"python": "TestDocsEmitters of integration",
	"html":   "TestTutorial of integration",
	"redis":  "TestDocsRedis of integration",
	"json":   "TestJSON here; TestDocsProtocol of integration compares those that name an event with what comes",
	"yaml":   "TestSettingsInPages of cmd/guildcast",
	"ini":    "TestSettingsInPages of cmd/guildcast",
	"text":   "pictures: TestPictures here",
}

// mostNotRun bounds the blocks that no test runs: a new one needs a reason that convinces a reviewer.
const mostNotRun = 8

func TestEveryBlockIsRun(t *testing.T) {
	blocks := all(t)
	notRun := 0
	for _, b := range blocks {
		if run[b.Lang] == "" {
			t.Errorf("%s: nothing runs blocks of %q", b, b.Lang)
		}
		if test, ok := strings.CutPrefix(b.NotRun, "it is the test in "); ok {
			if text, err := os.ReadFile(filepath.Join(root, test)); err != nil ||
				!strings.Contains(string(text), b.Text) {
				t.Errorf("%s is not in %s (%v)", b, test, err)
			}
		} else if b.NotRun != "" {
			notRun++
		}
	}
	if notRun > mostNotRun {
		t.Errorf("%d blocks are not run", notRun)
	}
	if len(blocks) < 40 {
		t.Errorf("found only %d blocks", len(blocks))
	}
}

// TestJSON parses every block of JSON, which may hold several values.
func TestJSON(t *testing.T) {
	for _, b := range all(t) {
		if b.Lang != "json" {
			continue
		}
		d := json.NewDecoder(strings.NewReader(b.Text))
		n := 0
		for {
			var v any
			if err := d.Decode(&v); err == io.EOF {
				break
			} else if err != nil {
				t.Errorf("%s: %v", b, err)
				break
			}
			n++
		}
		if n == 0 {
			t.Errorf("%s holds no value", b)
		}
	}
}

// TestPictures keeps code out of the blocks that nothing runs.
func TestPictures(t *testing.T) {
	for _, b := range all(t) {
		if b.Lang == "text" && !strings.ContainsAny(b.Text, "─►│") {
			t.Errorf("%s is no picture", b)
		}
	}
}

// TestTargets checks the one thing that can be checked of the blocks that are not run: that make has their targets.
func TestTargets(t *testing.T) {
	makefile, err := os.ReadFile(root + "/Makefile")
	if err != nil {
		t.Fatal(err)
	}
	for _, b := range all(t) {
		if b.Lang != "sh" {
			continue
		}
		for _, m := range regexp.MustCompile(`(?m)^make ([a-z-]+)`).FindAllStringSubmatch(b.Text, -1) {
			if !strings.Contains(string(makefile), "\n"+m[1]+":") {
				t.Errorf("%s: make has no target %s", b, m[1])
			}
		}
	}
}

func TestParse(t *testing.T) {
	blocks, err := parse("p.md", "a\n\n<!-- not run: costs -->\n```sh\nx\n\n    y\n```\n<!-- serves -->\n```json name\n{}\n```\n")
	want := []Block{
		{Page: "p.md", Line: 4, Lang: "sh", Text: "x\n\n    y\n", NotRun: "costs"},
		{Page: "p.md", Line: 10, Lang: "json", Info: "name", Text: "{}\n", Serves: true},
	}
	if err != nil || len(blocks) != 2 || blocks[0] != want[0] || blocks[1] != want[1] {
		t.Errorf("got %+v, %v", blocks, err)
	}
	for _, text := range []string{"\n    code\n", "```\ncode\n```\n", "```sh\ncode\n"} {
		if _, err := parse("p.md", text); err == nil {
			t.Errorf("no error for %q", text)
		}
	}
}

func all(t *testing.T) []Block {
	t.Helper()
	blocks, err := All(root)
	if err != nil {
		t.Fatal(err)
	}
	return blocks
}
