package traffic

import (
	"bytes"
	"io/fs"
	"strings"

	"github.com/santhosh-tekuri/jsonschema/v6"
	"go.yaml.in/yaml/v4"
	"golang.org/x/text/language"
	"golang.org/x/text/message"

	"github.com/architus/guildcast/schemas"
)

var printer = message.NewPrinter(language.English)

// read reads the messages from the AsyncAPI document, so that it is tested too, and the schemas from their files.
// It panics if they are not what the generator writes.
func read() *definitions {
	d := &definitions{
		events: map[string]event{}, compiler: jsonschema.NewCompiler(), schemas: map[string]*jsonschema.Schema{},
	}
	var doc struct {
		Channels   map[string]struct{ Messages map[string]any }
		Operations map[string]struct {
			Action string
			Reply  struct {
				Messages []struct {
					Ref string `yaml:"$ref"`
				}
			}
		}
		Components struct {
			Messages map[string]struct {
				Payload struct {
					AnyOf []any `yaml:"anyOf"`
				}
				Second any `yaml:"x-second-argument"`
			}
		}
	}
	must(yaml.Unmarshal(file("asyncapi.yaml"), &doc))
	for name := range doc.Channels["socket"].Messages {
		m, op := doc.Components.Messages[name], doc.Operations[name]
		e := event{
			name: name, fromClient: op.Action == "receive", strings: len(m.Payload.AnyOf) > 0,
			position: m.Second != nil, bare: name == "request_elevation",
		}
		for _, r := range op.Reply.Messages {
			e.answers = append(e.answers, r.Ref[strings.LastIndexByte(r.Ref, '/')+1:])
		}
		d.events[name] = e
	}
	must(fs.WalkDir(schemas.Files, "json", func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(file(path)))
		if err != nil {
			return err
		}
		name := strings.TrimSuffix(strings.TrimPrefix(path, "json/"), ".json")
		return d.compiler.AddResource(urlOf(name), doc)
	}))
	d.compiler.AssertFormat()
	return d
}

// urlOf returns the $id of the schema in a file.
func urlOf(name string) string { return "urn:guildcast:" + strings.ReplaceAll(name, "/", ":") }

func file(name string) []byte {
	data, err := schemas.Files.ReadFile(name)
	must(err)
	return data
}

func must(err error) {
	if err != nil {
		panic(err)
	}
}
