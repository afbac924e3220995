package main

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"

	"github.com/architus/guildcast/permissions"
)

func TestExplain(t *testing.T) {
	env := []string{"GUILDCAST_JWT_SECRET=a secret of the tests that has 32 bytes"}
	mint := func(args ...string) string {
		o := execute(t, env, append([]string{"token", "--sub", "7"}, args...)...)
		if o.code != 0 {
			t.Fatalf("%+v", o)
		}
		return strings.TrimSpace(o.out)
	}
	member, expired := mint("-g", "1=0"), mint("-g", "1=0", "--ttl=-1h")
	private := file(t, `{"kind":"message","private":true,"requires":["EXEC_PURGE_CMD"],"payload":{}}`)
	public, setting := file(t, `{"kind":"message","payload":{}}`), file(t, `{"kind":"setting","payload":{}}`)
	policy := file(t, `{"kinds":{"setting":["MANAGE_SETTINGS"],"message":"nobody"}}`)
	publicLogs := []string{"VIEW_PUBLIC_LOGS"}
	for _, c := range []struct {
		env     []string
		args    string
		reason  string
		missing []string
		source  string
	}{
		{env, "--guild 1 --logs --event " + public + " --token " + member, "allowed", nil, "default"},
		{env, "--guild 1 --logs --event " + private + " --token " + member, "permission_missing",
			[]string{"VIEW_PRIVATE_LOGS", "EXEC_PURGE_CMD"}, "default"},
		{env, "--guild 2 --event " + public + " --token " + member, "not_a_member", publicLogs, "default"},
		{env, "--guild 1 --event " + setting + " --token " + member + " --policy " + policy, "permission_missing",
			[]string{"MANAGE_SETTINGS"}, "file"},
		{env, "--guild 1 --event " + public + " --token " + member + " --policy " + policy, "unknown_kind", nil, ""},
		{env, "--guild 1 --event " + public + " --token " + expired, "token_expired", publicLogs, "default"},
		{env, "--guild 1 --event " + public + " --token x", "token_invalid", publicLogs, "default"},
		{env, "--guild 1 --jwt-issuer me --event " + public + " --token " + member, "token_invalid",
			publicLogs, "default"},
		{[]string{"GUILDCAST_JWT_SECRET=another"}, "--guild 1 --event " + public + " --token " + member,
			"token_invalid", publicLogs, "default"},
		{nil, "--guild 1 --event " + public + " --token " + member, "allowed", nil, "default"},
		{nil, "--guild 1 --event " + public + " --token " + expired, "token_expired", nil, "default"},
		{nil, "--guild 1 --event " + public + " --token a.b.c", "token_invalid", publicLogs, "default"},
		{env, "--guild 1 --event - --token " + member, "malformed", nil, ""}, // standard input has no payload
	} {
		args := append([]string{"explain"}, strings.Fields(c.args)...)
		o := execute(t, c.env, append(args, "--json")...)
		var r permissions.Report
		if err := json.Unmarshal([]byte(o.out), &r); err != nil || o.code != 0 {
			t.Errorf("%s: %+v, %v", c.args, o, err)
			continue
		}
		source := ""
		if r.Rule != nil {
			source = r.Rule.Source
		}
		if string(r.Reason) != c.reason || !slices.Equal(r.Missing, c.missing) || source != c.source ||
			r.Sees != (c.reason == "allowed") {
			t.Errorf("%s: %s", c.args, o.out)
		}
		answer := "no:      "
		if r.Sees {
			answer = "yes:     "
		}
		o = execute(t, c.env, args...)
		if o.code != 0 || !strings.HasPrefix(o.out, answer+c.reason+"\n") {
			t.Errorf("%s: %+v", c.args, o)
		}
		for _, name := range c.missing {
			if !strings.Contains(o.out, name) {
				t.Errorf("%s: no %s in %s", c.args, name, o.out)
			}
		}
	}
	for want, args := range map[string]string{
		"guild id":    "--guild x --event - --token x",
		"--event":     "--guild 1 --event /nonexistent/file --token x",
		"policy":      "--guild 1 --event - --token x --policy /nonexistent/file",
		"key set":     "--guild 1 --event - --token x --jwt-jwks /nonexistent/file",
		"--token=TOK": "--guild 1 --event -",
	} {
		if o := execute(t, nil, append([]string{"explain"}, strings.Fields(args)...)...); o.code != 2 ||
			!strings.Contains(o.err, want) {
			t.Errorf("%s: %+v, want %s", args, o, want)
		}
	}
}
