// Command generate writes everything that is made from schemas/source: AsyncAPI, JSON Schema, and the types of the kits
// in TypeScript and Python. `go generate ./schemas` runs it.
package main

import (
	"fmt"
	"os"
	"path/filepath"
)

func main() {
	if err := run(".."); err != nil {
		fmt.Fprintln(os.Stderr, "generate:", err)
		os.Exit(1)
	}
}

// run writes the files. Root is the module's directory.
func run(root string) error {
	files, err := generate(filepath.Join(root, "schemas", "source"))
	if err != nil {
		return err
	}
	for name, data := range files {
		path := filepath.Join(root, filepath.FromSlash(name))
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			return err
		}
		if err := os.WriteFile(path, data, 0o644); err != nil {
			return err
		}
	}
	return nil
}

// generate returns the files by their names in the module.
func generate(source string) (map[string][]byte, error) {
	p, err := readProtocol(source)
	if err != nil {
		return nil, err
	}
	files := map[string][]byte{}
	if files["schemas/asyncapi.yaml"], err = p.asyncAPI(); err != nil {
		return nil, err
	}
	if err := p.jsonSchemas(files); err != nil {
		return nil, err
	}
	files["clients/typescript/src/protocol.ts"] = p.typeScript(p.reachable(p.browserRoots()), true)
	everything := p.reachable(p.allRoots())
	files["clients/node/src/events.ts"] = p.typeScript(everything, false)
	files["clients/python/src/guildcast/events.py"] = p.python(everything)
	return files, nil
}
