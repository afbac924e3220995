package botwire

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
)

const root = "../../"

// words returns the words of error.go, by the page that lists them.
func words(t *testing.T) map[string]string {
	t.Helper()
	file, err := parser.ParseFile(token.NewFileSet(), "error.go", nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	pages, found := []string{"protocol.md", "workers.md", "interpret.md"}, map[string]string{}
	for _, d := range file.Decls {
		block, ok := d.(*ast.GenDecl)
		if !ok || block.Tok != token.CONST {
			continue
		}
		for _, s := range block.Specs {
			if v := s.(*ast.ValueSpec); strings.HasPrefix(v.Names[0].Name, "Word") {
				found[literal(t, v.Values[0])] = pages[0]
			}
		}
		pages = append(pages[1:], "")
	}
	if len(found) < 40 {
		t.Fatalf("%d words: error.go is not read as it is written", len(found))
	}
	return found
}

func literal(t *testing.T, e ast.Expr) string {
	t.Helper()
	s, err := strconv.Unquote(e.(*ast.BasicLit).Value)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func page(t *testing.T, name string) string {
	t.Helper()
	data, err := os.ReadFile(root + "docs/reference/" + name)
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

// Clients branch on words that they read about: each is on its page, the protocol's with its code.
func TestWordsAreDocumented(t *testing.T) {
	listed := map[string]int{}
	rows := regexp.MustCompile("(?m)^\\| (\\d{3}) \\| (`.*?) \\|")
	for _, row := range rows.FindAllStringSubmatch(page(t, "protocol.md"), -1) {
		for _, word := range regexp.MustCompile("`(.*?)`").FindAllStringSubmatch(row[2], -1) {
			listed[word[1]], _ = strconv.Atoi(row[1])
		}
	}
	for word, name := range words(t) {
		if !strings.Contains(page(t, name), "`"+word+"`") {
			t.Errorf("%s is not in %s", word, name)
		}
		if code, ok := listed[word]; ok != (name == "protocol.md") || ok && code != Code(word) {
			t.Errorf("%s has the code %d; protocol.md says %d", word, Code(word), code)
		}
		if Code(word) == CodeInternal && word != WordInternal {
			t.Errorf("%s has no code", word)
		}
		delete(listed, word)
	}
	for word := range listed {
		t.Errorf("protocol.md lists %s, which nobody says", word)
	}
}

// A word that is written twice is two words some day. Words without an underscore mean other things, too: they are not
// searched for.
func TestWordsHaveOneOwner(t *testing.T) {
	known := words(t)
	files := 0
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir() && slices.Contains([]string{"node_modules", ".git", "testdata"}, d.Name()):
			return filepath.SkipDir
		case !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go"):
			return nil
		}
		name, _ := filepath.Rel(root, path)
		if name = filepath.ToSlash(name); name == "internal/botwire/error.go" {
			return nil
		}
		files++
		set := token.NewFileSet()
		file, err := parser.ParseFile(set, path, nil, parser.SkipObjectResolution)
		if err != nil {
			return err
		}
		ast.Inspect(file, func(n ast.Node) bool {
			switch n := n.(type) {
			case *ast.BasicLit:
				word, err := strconv.Unquote(n.Value)
				if n.Kind == token.STRING && err == nil && known[word] != "" && strings.Contains(word, "_") {
					t.Errorf("%s:%d: %q has a constant in internal/botwire", name, set.Position(n.Pos()).Line, word)
				}
			case *ast.KeyValueExpr:
				key, _ := n.Key.(*ast.Ident)
				v, ok := n.Value.(*ast.BasicLit)
				if ok && v.Kind == token.INT && key != nil && strings.EqualFold(key.Name, "code") {
					t.Errorf("%s:%d: the code %s follows from a word", name, set.Position(n.Pos()).Line, v.Value)
				}
			}
			return true
		})
		return nil
	})
	if err != nil || files < 200 {
		t.Fatalf("%d files read, %v", files, err)
	}
}
