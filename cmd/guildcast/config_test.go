package main

import (
	"encoding/json"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/architus/guildcast/node"
	"github.com/architus/guildcast/token"
)

const schemaFile = "../../deploy/guildcast.schema.json"

// yamlFile writes a configuration file and returns its name.
func yamlFile(t *testing.T, lines ...string) string {
	t.Helper()
	name := filepath.Join(t.TempDir(), "guildcast.yaml")
	if err := os.WriteFile(name, []byte(strings.Join(lines, "\n")+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	return name
}

func TestFlagsOverVariablesOverFile(t *testing.T) {
	path := yamlFile(t, "# a node", "grace: 15s", "keep-alive: 3m", "drain-delay: 1s", "limit-flood: -1",
		`origins: [https://a.example, "https://b.example"]`, "allow-eio3: true", "path:", "log-level: debug",
		"jwt-secret: >", `  {"a": "x,y"}`, "limit-user-rate: 1.5")
	vars := map[string]string{"GUILDCAST_CONFIG": path, "GUILDCAST_KEEP_ALIVE": "4m", "GUILDCAST_DRAIN_DELAY": "2s"}
	parsed, err := parse([]string{"serve", "--drain-delay", "3s"}, vars, io.Discard)
	if err != nil {
		t.Fatal(err)
	}
	s := parsed.command.(*serve)
	if secrets, err := s.secrets(); err != nil || len(secrets) != 1 || string(secrets[0].Key) != "x,y" {
		t.Errorf("secrets %v, %v", secrets, err)
	}
	want := map[string][2]string{
		"grace": {"15s", path + ":2"}, "keep-alive": {"4m", "$GUILDCAST_KEEP_ALIVE"},
		"drain-delay": {"3s", "--drain-delay"}, "limit-flood": {"-1", path + ":5"},
		"origins": {`["https://a.example","https://b.example"]`, path + ":6"}, "allow-eio3": {"true", path + ":7"},
		"path": {"/socket.io", "default"}, "log-level": {"debug", path + ":9"}, "jwt-secret": {mask, path + ":10"},
		"limit-user-rate": {"1.5", path + ":12"}, "shards": {"1", "default"},
	}
	for _, o := range parsed.options {
		value, err := json.Marshal(o.value())
		if err != nil {
			t.Fatal(err)
		}
		if w, ok := want[o.name()]; ok && (strings.Trim(string(value), `"`) != w[0] || o.source != w[1]) {
			t.Errorf("%s is %s from %s, want %s from %s", o.name(), value, o.source, w[0], w[1])
		}
		delete(want, o.name())
	}
	if len(want) > 0 {
		t.Errorf("no options %v", want)
	}
	if !slices.Equal(s.Origins, []string{"https://a.example", "https://b.example"}) || s.LimitFlood != -1 {
		t.Errorf("%+v", s)
	}
}

// A mistake in the file ends with one line, which names the file's line and the key, and exit code 2.
func TestWrongConfigurationFiles(t *testing.T) {
	for name, c := range map[string]struct {
		lines []string
		args  []string
		want  string
	}{
		"unknown key":        {[]string{"demo: true", "", "grce: 1s"}, nil, `:3: there is no option "grce"`},
		"config in itself":   {[]string{"config: other.yaml"}, nil, `:1: there is no option "config"`},
		"other command":      {[]string{"from-prefix: x"}, nil, `:1: there is no option "from-prefix"`},
		"duration":           {[]string{"demo: true", "grace: 10"}, nil, `:2: grace: "10" is not a duration`},
		"number":             {[]string{"limit-content: [1, 2]"}, nil, `:1: limit-content: "1,2" is not a whole`},
		"enum":               {[]string{"adapter: rabbit"}, nil, `:1: adapter: "rabbit" is not one of classic, `},
		"switch":             {[]string{"demo: perhaps"}, nil, `:1: demo: `},
		"level":              {[]string{"log-level: loud"}, nil, `:1: log-level: "loud" is not a level`},
		"range":              {[]string{"demo: true", "shards: 0"}, nil, `:2: shards: must be more than 0`},
		"origin":             {[]string{"origins:", "  - nonsense", "demo: true"}, nil, `:1: origins: `},
		"redis":              {[]string{"demo: true", "redis: nonsense"}, nil, `:2: redis: `},
		"redis of a command": {[]string{"redis: nonsense"}, []string{"emit", "room", "event"}, `:1: redis: `},
		"certificate":        {[]string{"tls-cert: nonsense", "demo: true"}, nil, `:1: tls-cert: `},
		"policy":             {[]string{"policy: /nonexistent/file", "demo: true"}, nil, `:1: policy: `},
		"secret":             {[]string{`jwt-secret: "a,,b"`}, nil, `:1: jwt-secret: `},
		"secret as mapping":  {[]string{"jwt-secret: {a: b}"}, nil, `:1: jwt-secret: the value must be a text`},
		"key set":            {[]string{"", "jwt-jwks: ftp://keys"}, nil, `:2: jwt-jwks: `},
		"twice":              {[]string{"grace: 1s", "grace: 2s"}, nil, `:2: grace: it is in line 1 already`},
		"not YAML":           {[]string{"grace: 1s", "\t- x"}, nil, "line"},
		"a list":             {[]string{"- grace"}, nil, `:1: there must be options here`},
		"a flag's value":     {[]string{"demo: true"}, []string{"--grace", "0s"}, `--grace: must be more than 0`},
	} {
		path := yamlFile(t, c.lines...)
		o := execute(t, nil, append(c.args[:len(c.args):len(c.args)], "--config", path)...)
		want := c.want
		if strings.HasPrefix(want, ":") {
			want = path + want
		}
		if o.code != 2 || !strings.Contains(o.err, want) || strings.Contains(o.err, "a,,b") {
			t.Errorf("%s: exit code %d, error %q, want %q", name, o.code, o.err, want)
		}
	}
	o := execute(t, []string{"GUILDCAST_CONFIG=/nonexistent/file"}, "--demo")
	if o.code != 2 || !strings.Contains(o.err, "--config") {
		t.Errorf("no file: %+v", o)
	}
	if o := execute(t, []string{"GUILDCAST_CONFIG=/nonexistent/file"}, "--help"); o.code != 0 {
		t.Errorf("help without the file: %+v", o)
	}
}

// Other commands take from a node's file what they have in common with it.
func TestFileOfANodeForOtherCommands(t *testing.T) {
	path := yamlFile(t, "jwt-secret: a secret of this file", "grace: 15s")
	o := execute(t, nil, "token", "--sub", "1", "--config", path)
	if o.code != 0 {
		t.Fatalf("%+v", o)
	}
	v, err := token.NewVerifier(token.VerifierOptions{Secrets: []token.Secret{{Key: []byte("a secret of this file")}}})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := v.Verify(t.Context(), strings.TrimSpace(o.out)); err != nil {
		t.Error(err)
	}
}

func TestConfigShow(t *testing.T) {
	path := yamlFile(t, "grace: 15s", "redis: redis://user:p@ss:w@redis.example:6379/1?sentinel_password=hidden&db=2")
	env := []string{"GUILDCAST_CONFIG=" + path, "GUILDCAST_JWT_SECRET=hidden"}
	o := execute(t, env, "config", "--drain-delay=3s", "--jwt-jwks", "https://me:hidden@keys.example/")
	if o.code != 0 {
		t.Fatalf("%+v", o)
	}
	for _, want := range []string{
		"grace: 15s # " + path + ":1\n", "drain-delay: 3s # --drain-delay\n", "addr: :8080 # default\n",
		"redis: redis://user:********@redis.example:6379/1?sentinel_password=********&db=2 # " + path + ":2\n",
		"jwt-secret: '********' # $GUILDCAST_JWT_SECRET\n",
		"jwt-jwks: https://me:********@keys.example/ # --jwt-jwks\n",
	} {
		if !strings.Contains(o.out, want) {
			t.Errorf("%q is not in\n%s", want, o.out)
		}
	}
	if strings.Contains(o.out, "hidden") || strings.Contains(o.out, "p@ss") {
		t.Errorf("a secret is in\n%s", o.out)
	}
	// What it prints is a configuration file, with the same options.
	again := execute(t, nil, "config", "show", "--config", yamlFile(t, o.out))
	for line := range strings.Lines(o.out) {
		value, _, _ := strings.Cut(line, " # ")
		if !strings.Contains(again.out, value) {
			t.Errorf("%q is not in\n%s", value, again.out)
		}
	}
}

func TestConfigCheck(t *testing.T) {
	good := yamlFile(t, "jwt-secret: x", "redis: redis://redis.example:6379/0", "adapter: sharded")
	if o := execute(t, nil, "config", "check", "--config", good); o.code != 0 || o.out != "ok\n" {
		t.Errorf("%+v", o)
	}
	if o := execute(t, nil, "config", "check", "--demo", "--redis", "embedded://127.0.0.1:1"); o.code != 0 {
		t.Errorf("%+v", o)
	}
	bad := yamlFile(t, "jwt-secret: x", "adapter: sharded") // the embedded Redis has none
	o := execute(t, nil, "config", "check", "--config", bad)
	if o.code != 2 || !strings.Contains(o.err, bad+":2: adapter: ") {
		t.Errorf("%+v", o)
	}
	if o := execute(t, nil, "config", "check"); o.code != 2 || !strings.Contains(o.err, "--jwt-secret") {
		t.Errorf("%+v", o)
	}
}

// TestSchema keeps the file in deploy equal to the command line, and the schema's defaults to what the parser takes.
func TestSchema(t *testing.T) {
	o := execute(t, nil, "config", "schema")
	if o.code != 0 {
		t.Fatalf("%+v", o)
	}
	if os.Getenv("UPDATE_DOCS") != "" {
		if err := os.WriteFile(schemaFile, []byte(o.out), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	have, err := os.ReadFile(schemaFile)
	if err != nil || string(have) != o.out {
		t.Errorf("%s is not the schema (%v): run this test with UPDATE_DOCS=1", schemaFile, err)
	}
	var s struct {
		Properties map[string]struct {
			Type    string
			Default json.RawMessage // a YAML value, too
		}
	}
	if err := json.Unmarshal(have, &s); err != nil {
		t.Fatal(err)
	}
	var lines []string
	for name, p := range s.Properties {
		if p.Default != nil {
			lines = append(lines, name+": "+string(p.Default))
		}
	}
	if _, err := parse([]string{"--config", yamlFile(t, lines...)}, nil, io.Discard); err != nil || len(lines) < 40 {
		t.Errorf("%d defaults: %v", len(lines), err)
	}
	for _, name := range []string{"addr", "jwt-secret", "limit-flood", "log-level"} {
		if s.Properties[name].Type == "" {
			t.Errorf("the schema has no %s", name)
		}
	}
}

// --compression was a switch, and is one still.
func TestCompressionModes(t *testing.T) {
	for _, tt := range []struct {
		args []string
		text string // of the variable, and in the file
		want node.CompressionMode
	}{
		{[]string{"--demo"}, "off", node.CompressionOff},
		{[]string{"--compression"}, "true", node.CompressionMessage},
		{[]string{"--compression", "--demo"}, "1", node.CompressionMessage},
		{[]string{"--compression=true"}, "yes", node.CompressionMessage},
		{[]string{"--compression=false"}, "false", node.CompressionOff},
		{[]string{"--compression", "off"}, "off", node.CompressionOff},
		{[]string{"--compression=message"}, "message", node.CompressionMessage},
		{[]string{"--compression", "shared", "--demo"}, "shared", node.CompressionShared},
	} {
		file := yamlFile(t, "compression: "+tt.text)
		for _, way := range []struct {
			args []string
			vars map[string]string
		}{
			{append([]string{"serve"}, tt.args...), nil},
			{[]string{"serve"}, map[string]string{"GUILDCAST_COMPRESSION": tt.text}},
			{[]string{"serve", "--config", file}, nil},
		} {
			parsed, err := parse(way.args, way.vars, io.Discard)
			if err != nil {
				t.Errorf("%q %q: %v", way.args, way.vars, err)
				continue
			}
			if got := parsed.command.(*serve).Compression; got != tt.want {
				t.Errorf("%q %q: %q, want %q", way.args, way.vars, got, tt.want)
			}
		}
	}
	_, err := parse([]string{"serve", "--compression=zip"}, nil, io.Discard)
	if err == nil || !strings.Contains(err.Error(), `"zip" is not one of off, message, shared`) {
		t.Error(err)
	}
}
