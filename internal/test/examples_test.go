// Package test_test checks what holds for the whole module.
package test_test

import (
	"go/ast"
	"go/doc"
	"go/parser"
	"go/token"
	"io/fs"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// partsOfNode can be imported, but serve package node alone: the demo's page, and the names that handlers keep.
var partsOfNode = []string{"../../web", "../../handlers/directory"}

// TestEveryPublicPackageHasAnExample fails for a package that others can import and that has no example which runs.
func TestEveryPublicPackageHasAnExample(t *testing.T) {
	public := 0
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil || !d.IsDir() {
			return err
		}
		name := d.Name()
		if path != root && (strings.HasPrefix(name, ".") ||
			slices.Contains([]string{"internal", "testdata", "node_modules"}, name)) {
			return filepath.SkipDir
		}
		isPublic, hasExample, err := inspect(path)
		if err != nil {
			return err
		}
		if isPublic {
			public++
			if !hasExample && !slices.Contains(partsOfNode, filepath.ToSlash(path)) {
				t.Errorf("%s has no example with an output", filepath.Clean(path))
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if public < 10 {
		t.Errorf("found only %d public packages", public)
	}
}

// inspect reports whether a directory holds a package that can be imported, and an example with an output.
func inspect(dir string) (isPublic, hasExample bool, err error) {
	files, err := filepath.Glob(filepath.Join(dir, "*.go"))
	if err != nil {
		return false, false, err
	}
	var tests []*ast.File
	for _, path := range files {
		file, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.ParseComments)
		switch {
		case err != nil:
			return false, false, err
		case strings.HasSuffix(path, "_test.go"):
			tests = append(tests, file)
		case file.Name.Name != "main":
			isPublic = true
		}
	}
	for _, example := range doc.Examples(tests...) {
		hasExample = hasExample || example.Output != "" || example.EmptyOutput
	}
	return isPublic, hasExample, nil
}
