package permissions_test

import (
	"fmt"
	"time"

	"github.com/architus/guildcast/event"
	"github.com/architus/guildcast/permissions"
)

// A private log entry reaches the recipient who holds VIEW_PRIVATE_LOGS, and nobody else.
func Example() {
	const guild = "607637793107345431"
	now := time.Unix(1790000000, 0)
	filter := permissions.NewFilter[string](permissions.DefaultPolicy())
	for _, payload := range []string{
		`{"sub":"1","exp":1790000060,"guilds":{"607637793107345431":4}}`,
		`{"sub":"2","exp":1790000060,"guilds":{"607637793107345431":0}}`,
	} {
		claims, err := permissions.ParseClaims([]byte(payload)) // token.Verifier does this with a token's payload
		if err != nil {
			fmt.Println(err)
			return
		}
		view := permissions.View{Guild: guild, Logs: true, Claims: claims}
		if err := filter.Spectate("user "+claims.Subject, view, now); err != nil {
			fmt.Println(err)
			return
		}
	}
	e := event.Event{Topic: event.Topic{Guild: guild, Logs: true}, Kind: event.KindMessage, Private: true}
	batches, outcome := filter.Route(nil, &e, now)
	fmt.Println(outcome)
	for _, b := range batches {
		fmt.Println(b.Level, b.Recipients)
	}
	_, outcome = filter.Route(nil, &e, now.Add(time.Minute)) // the claims have expired
	fmt.Println(outcome)
	// Output:
	// routed
	// private_logs [user 1]
	// denied
}

// A policy file changes what a kind of event requires.
func ExamplePolicy_With() {
	policy, err := permissions.DefaultPolicy().With([]byte(`{"kinds": {"purge": "EXEC_PURGE_CMD", "reaction": "nobody"}}`))
	if err != nil {
		fmt.Println(err)
		return
	}
	rule, known := policy.Rule("purge")
	fmt.Println(rule.Public, known)
	_, known = policy.Rule("reaction")
	fmt.Println(known)
	// Output:
	// EXEC_PURGE_CMD true
	// false
}
