//go:build integration

package integration

import (
	"encoding/json"
	"os"
	"strings"
	"testing"

	"github.com/santhosh-tekuri/jsonschema/v6"
	"go.yaml.in/yaml/v4"

	"github.com/architus/guildcast/schemas"
)

// TestAsyncAPI validates the document against the schema that AsyncAPI publishes. It does not see references that lead
// nowhere: those are looked up one by one.
func TestAsyncAPI(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile("nodejs/node_modules/@asyncapi/specs/schemas/3.1.0.json")
	if err != nil {
		t.Fatal(err)
	}
	var official, document any
	must(t, json.Unmarshal(text, &official))
	text, err = schemas.Files.ReadFile("asyncapi.yaml")
	must(t, err)
	must(t, yaml.Unmarshal(text, &document))
	c := jsonschema.NewCompiler()
	must(t, c.AddResource("http://asyncapi.com/definitions/3.1.0/asyncapi.json", official))
	schema, err := c.Compile("http://asyncapi.com/definitions/3.1.0/asyncapi.json")
	must(t, err)
	if err := schema.Validate(document); err != nil {
		t.Error(err)
	}
	followed := 0
	eachRef(document, func(ref string) {
		followed++
		if !leads(document, ref) {
			t.Errorf("%s leads nowhere", ref)
		}
	})
	if followed < 100 {
		t.Errorf("found %d references", followed)
	}
}

// eachRef calls f with every $ref in a document.
func eachRef(v any, f func(string)) {
	switch v := v.(type) {
	case map[string]any:
		if ref, ok := v["$ref"].(string); ok {
			f(ref)
		}
		for _, w := range v {
			eachRef(w, f)
		}
	case []any:
		for _, w := range v {
			eachRef(w, f)
		}
	}
}

// leads reports whether there is something at the place of a reference (#/a/b).
func leads(document any, ref string) bool {
	path, ok := strings.CutPrefix(ref, "#/")
	for name := range strings.SplitSeq(path, "/") {
		m, _ := document.(map[string]any)
		document = m[name]
	}
	return ok && document != nil
}
