package main

import (
	"fmt"
	"io"
	"os"
	"strings"
	"testing"

	"github.com/alecthomas/kong"
)

const (
	configurationPage = "../../docs/reference/configuration.md"
	optionsBegin      = "<!-- options, written by go test ./cmd/guildcast with UPDATE_DOCS=1 -->\n"
	optionsEnd        = "<!-- end of options -->\n"
)

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
	k, err := newParser(nil, io.Discard)
	if err != nil {
		t.Fatal(err)
	}
	var b strings.Builder
	for _, command := range k.Model.Leaves(false) {
		fmt.Fprintf(&b, "\n## guildcast %s\n", command.Name)
		group := "-"
		for _, flags := range command.AllFlags(false) {
			for _, flag := range flags {
				if ends(flag.Name) {
					continue
				}
				if title := groupTitle(flag); title != group {
					group = title
					if title != "" {
						fmt.Fprintf(&b, "\n### %s\n", title)
					}
					b.WriteString("\n| flag | variable | default | meaning |\n|---|---|---|---|\n")
				}
				fmt.Fprintf(&b, "| `--%s` | `%s` | %s | %s |\n", flag.Name, variable(flag.Name), defaultOf(flag), strings.ReplaceAll(flag.Help, "|", `\|`))
			}
		}
		for _, p := range command.Positional {
			fmt.Fprintf(&b, "\nArgument `%s`: %s\n", p.Summary(), p.Help)
		}
	}
	return b.String() + "\n"
}

func groupTitle(flag *kong.Flag) string {
	if flag.Group == nil {
		return ""
	}
	return strings.TrimSuffix(flag.Group.Title, ":")
}

func defaultOf(flag *kong.Flag) string {
	switch {
	case flag.HasDefault:
		return "`" + flag.Default + "`"
	case flag.IsBool():
		return "off"
	}
	return ""
}
