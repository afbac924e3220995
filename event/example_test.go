package event_test

import (
	"fmt"

	"github.com/architus/guildcast/event"
)

// A message of a guild's log topic becomes a Socket.IO event that carries the published bytes.
func Example() {
	topic, ok := event.ParseChannel("", "607637793107345431_logs")
	fmt.Println(topic.Guild, topic.Logs, ok)

	e, err := event.Parse(topic, []byte(`{"kind":"message","private":true,"payload":{"content":"hi"}}`))
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(e.Kind, e.Private)
	fmt.Println(string(e.AppendArgs(nil, false)))
	fmt.Println(string(e.AppendArgs(nil, true)))
	// Output:
	// 607637793107345431 true true
	// message true
	// ["log_other",{"content":"hi"}]
	// ["log_other","{\"content\":\"hi\"}"]
}

// A malformed message is dropped: a mistake never widens who sees an event.
func ExampleParse_malformed() {
	_, err := event.Parse(event.Topic{Guild: "1"}, []byte(`{"kind":"message","private":"yes","payload":{}}`))
	fmt.Println(err)
	// Output:
	// event message is malformed: bad_field: private is not a boolean
}
