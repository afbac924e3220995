package main

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/architus/guildcast/event"
	"github.com/architus/guildcast/handlers"
	"github.com/architus/guildcast/node"
	"github.com/architus/guildcast/permissions"
	"github.com/architus/guildcast/token"
	"github.com/architus/guildcast/token/jwks"
)

// explain is the command that says whether a user would get an event, and why.
type explain struct {
	Token string `required:"" placeholder:"TOKEN" help:"Token of the user."`
	Guild string `required:"" placeholder:"ID" help:"Guild of the topic."`
	Logs  bool   `help:"The event is published to the guild's log topic, and the user spectates with include_logs."`
	Event string `required:"" placeholder:"FILE" help:"Message as it is published, or - to read it from standard input."`
	JSON  bool   `name:"json" help:"Print JSON."`

	secretOptions
	JwtJwks     string        `placeholder:"URL|FILE" help:"JSON Web Key Set of the token issuer. Without it and without a secret the token's signature is not checked."`
	JwtIssuer   string        `placeholder:"TEXT" help:"Required iss claim; any if left out."`
	JwtAudience []string      `placeholder:"TEXT" help:"Accepted aud claims, with commas between them; any if left out."`
	JwtLeeway   time.Duration `default:"${jwt_leeway}" placeholder:"DURATION" help:"How far clocks may differ, for nbf and iat; at most 5s."`
	Policy      string        `placeholder:"FILE" help:"Policy that replaces or adds kinds of events."`
}

// Run prints the answer.
func (c *explain) Run(ctx context.Context, t terminal) error {
	topic := event.Topic{Guild: c.Guild, Logs: c.Logs}
	if !event.ValidID(c.Guild) {
		return usagef("%q is not a guild id", c.Guild)
	}
	policy, err := node.LoadPolicy(c.Policy)
	if err != nil {
		return usageError{err}
	}
	message, err := c.message(t.in)
	if err != nil {
		return err
	}
	claims, unchecked, err := c.claims(ctx)
	refused, isRefusal := errors.AsType[*token.Error](err)
	if err != nil && !isRefusal {
		return err
	}
	v := permissions.View{Guild: c.Guild, Logs: c.Logs, Claims: claims}
	e, parseErr := event.Parse(topic, message)
	x := policy.Explain(v, &e, time.Now())
	r := x.Report(v, &e)
	switch {
	case isRefusal:
		r.Reason, r.Detail = permissions.Reason(refused.Word), refused.Error()
	case parseErr != nil:
		r.Reason, r.Detail = handlers.ReasonMalformed, parseErr.Error()
	}
	r.Sees = r.Reason == permissions.ReasonAllowed
	if unchecked {
		fmt.Fprintln(t.err, "guildcast: the token's signature is not checked, without --jwt-secret and --jwt-jwks")
	}
	if c.JSON {
		return json.NewEncoder(t.out).Encode(r)
	}
	_, err = io.WriteString(t.out, reportText(&r))
	return err
}

// message reads the event.
func (c *explain) message(stdin io.Reader) ([]byte, error) {
	if c.Event != "-" {
		file, err := os.Open(c.Event)
		if err != nil {
			return nil, usagef("--event: %w", err)
		}
		defer file.Close()
		stdin = file
	}
	message, err := io.ReadAll(io.LimitReader(stdin, event.MaxBytes+1))
	if err != nil {
		return nil, fmt.Errorf("read the event: %w", err)
	}
	return message, nil
}

// claims returns those of the token, and whether its signature was not checked. The error of a token that is refused is
// a *token.Error.
func (c *explain) claims(ctx context.Context) (_ *permissions.Claims, unchecked bool, err error) {
	o := token.VerifierOptions{Issuer: c.JwtIssuer, Audience: c.JwtAudience, Leeway: c.JwtLeeway}
	if o.Secrets, err = c.secrets(); err != nil {
		return nil, false, err
	}
	if c.JwtJwks != "" {
		keys, err := jwks.New(c.JwtJwks, jwks.Options{})
		if err != nil {
			return nil, false, usageError{err}
		}
		ctx, stop := context.WithCancel(ctx)
		var running sync.WaitGroup
		running.Go(func() { _ = keys.Run(ctx) }) // fails if it was run before
		defer running.Wait()
		defer stop()
		o.Keys = keys
	}
	text := strings.TrimSpace(c.Token)
	if len(o.Secrets) == 0 && o.Keys == nil {
		claims, err := unverified(text)
		return claims, true, err
	}
	verifier, err := token.NewVerifier(o)
	if err != nil {
		return nil, false, usageError{err}
	}
	claims, err := verifier.Verify(ctx, text)
	return claims, false, err
}

// unverified reads the claims of a token whose signature nobody checks.
func unverified(text string) (*permissions.Claims, error) {
	parts := strings.Split(text, ".")
	if len(parts) != 3 {
		return nil, &token.Error{Word: token.Invalid, Err: errors.New("it has not three parts")}
	}
	payload, err := base64.RawURLEncoding.DecodeString(parts[1])
	if err != nil {
		return nil, &token.Error{Word: token.Invalid, Err: err}
	}
	claims, err := permissions.ParseClaims(payload)
	if err != nil {
		return nil, &token.Error{Word: token.Invalid, Err: err}
	}
	return claims, nil
}

// reportText is a report as lines for people.
func reportText(r *permissions.Report) string {
	var b strings.Builder
	answer := "no"
	if r.Sees {
		answer = "yes"
	}
	line := func(name, value string) { fmt.Fprintf(&b, "%-9s%s\n", name, value) }
	line(answer+":", string(r.Reason))
	if r.Detail != "" {
		line("detail", r.Detail)
	}
	if r.Reason == handlers.ReasonMalformed {
		return b.String()
	}
	line("user", orNone(r.UserID))
	line("event", r.Event)
	private := ""
	if r.Private {
		private = ", private"
	}
	line("kind", orNone(r.Kind)+private)
	line("rule", ruleText(r.Rule))
	takes := r.Required
	if r.NeedsArchitusAdmin {
		takes = append([]string{"architus_admin"}, takes...)
	}
	line("takes", orNone(strings.Join(takes, " ")))
	line("holds", orNone(strings.Join(r.Held, " ")))
	line("missing", orNone(strings.Join(r.Missing, " ")))
	return b.String()
}

// ruleText is a rule in one line.
func ruleText(t *permissions.Terms) string {
	switch {
	case t == nil:
		return "none: reaches nobody"
	case t.ArchitusAdmin:
		return "architus_admin (" + t.Source + ")"
	}
	public := "membership"
	if len(t.Public) > 0 {
		public = strings.Join(t.Public, " ")
	}
	return fmt.Sprintf("%s; private: %s (%s)", public, strings.Join(t.Private, " "), t.Source)
}

func orNone(text string) string {
	if text == "" {
		return "none"
	}
	return text
}
