package main

import (
	"fmt"
	"io"
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/alecthomas/kong"

	"github.com/architus/guildcast/internal/test/docblock"
)

const (
	configurationPage = "../../docs/reference/configuration.md"
	optionsBegin      = "<!-- options, written by go test ./cmd/guildcast with UPDATE_DOCS=1 -->\n"
	optionsEnd        = "<!-- end of options -->\n"
)

// TestFilesInPages tries the configuration files that the pages show.
func TestFilesInPages(t *testing.T) {
	blocks, err := docblock.All("../..")
	if err != nil {
		t.Fatal(err)
	}
	tried := 0
	for _, b := range blocks {
		if b.Lang != "yaml" || !strings.HasPrefix(b.Text, "# guildcast.yaml") {
			continue
		}
		if _, err := parse([]string{"--config", yamlFile(t, b.Text)}, nil, io.Discard); err != nil {
			t.Errorf("%s: %v", b, err)
		}
		tried++
	}
	if tried == 0 {
		t.Error("no page shows a configuration file")
	}
}

// TestSettingsInPages tries the settings that the pages show for Kubernetes and systemd.
func TestSettingsInPages(t *testing.T) {
	blocks, err := docblock.All("../..")
	if err != nil {
		t.Fatal(err)
	}
	tried := 0
	for _, b := range blocks {
		if b.Lang != "yaml" && b.Lang != "ini" {
			continue
		}
		vars := map[string]string{}
		for _, m := range variableInPage.FindAllStringSubmatch(b.Text, -1) {
			vars[m[1]] = strings.Trim(m[2], `"`)
		}
		if p, err := parse([]string{"serve"}, vars, io.Discard); err != nil || len(p.unknown) > 0 {
			t.Errorf("%s: unknown %s, error %v", b, p.unknown, err)
		}
		tried += len(vars)
	}
	if tried < 6 {
		t.Errorf("found only %d settings", tried)
	}
}

// variableInPage is a variable with its value, as in name=value or {name: name, value: value}.
var variableInPage = regexp.MustCompile(`(GUILDCAST_\w+)(?:=|, value: )("[^"]*"|[^\s}]+)`)

// TestConfigurationPage keeps the tables of the page equal to the command line.
func TestConfigurationPage(t *testing.T) {
	page, err := os.ReadFile(configurationPage)
	if err != nil {
		t.Fatal(err)
	}
	before, rest, ok := strings.Cut(string(page), optionsBegin)
	have, after, ok2 := strings.Cut(rest, optionsEnd)
	if !ok || !ok2 {
		t.Fatalf("%s has no place for the options", configurationPage)
	}
	want := optionTables(t)
	if have == want {
		return
	}
	if os.Getenv("UPDATE_DOCS") == "" {
		t.Fatalf("%s does not list the options as they are: run this test with UPDATE_DOCS=1", configurationPage)
	}
	if err := os.WriteFile(configurationPage, []byte(before+optionsBegin+want+optionsEnd+after), 0o644); err != nil {
		t.Fatal(err)
	}
}

func optionTables(t *testing.T) string {
	t.Helper()
	k, err := newParser(&sources{}, io.Discard)
	if err != nil {
		t.Fatal(err)
	}
	var b strings.Builder
	for _, command := range k.Model.Leaves(false) {
		fmt.Fprintf(&b, "\n## %s\n", command.FullPath())
		if command.Parent.Name == configFlag {
			fmt.Fprintf(&b, "\n%s\n", command.Help)
			continue // its options are those of serve
		}
		group := "-"
		for _, flags := range command.AllFlags(false) {
			for _, flag := range flags {
				if ends(flag.Name) {
					continue
				}
				if title := (option{flag: flag}).group(); title != group {
					group = title
					if title != "" {
						fmt.Fprintf(&b, "\n### %s\n", title)
					}
					b.WriteString("\n| flag | variable | default | meaning |\n|---|---|---|---|\n")
				}
				fmt.Fprintf(&b, "| `--%s` | `%s` | %s | %s |\n", flag.Name, variable(flag.Name), defaultOf(flag),
					strings.ReplaceAll(flag.Help, "|", `\|`))
			}
		}
		for _, p := range command.Positional {
			fmt.Fprintf(&b, "\nArgument `%s`: %s\n", p.Summary(), p.Help)
		}
	}
	return b.String() + "\n"
}

func defaultOf(flag *kong.Flag) string {
	switch {
	case flag.HasDefault && flag.Default != "":
		return "`" + flag.Default + "`"
	case flag.IsBool():
		return "off"
	}
	return ""
}
