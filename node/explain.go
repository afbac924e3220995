package node

import (
	"encoding/json"
	"io"
	"net/http"
	"strconv"

	"github.com/architus/guildcast/event"
)

// explainHandler answers whether a socket of the node would get an event, and why: /explain?socket=<id>, with the
// message as the body or as the parameter event. guild is that of the topic, by default the one that the socket
// spectates; logs=true makes it the guild's log topic.
func (n *Node) explainHandler() http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		query := r.URL.Query()
		topic, ok := topicOf(query.Get("guild"), query.Get("logs"))
		message := []byte(query.Get("event"))
		if len(message) == 0 {
			var err error
			if message, err = io.ReadAll(http.MaxBytesReader(w, r.Body, event.MaxBytes)); err != nil {
				http.Error(w, "the event is too large, or did not come", http.StatusBadRequest)
				return
			}
		}
		switch {
		case !ok:
			http.Error(w, "guild is not an id, or logs is neither true nor false", http.StatusBadRequest)
			return
		case query.Get("socket") == "" || len(message) == 0:
			http.Error(w, "takes socket=<id>, and the event as the body or as event=", http.StatusBadRequest)
			return
		}
		report, err := n.gateway.Explain(query.Get("socket"), topic, message)
		if err != nil {
			http.Error(w, err.Error(), http.StatusNotFound)
			return
		}
		w.Header().Set("Content-Type", "application/json")
		w.Header().Set("Cache-Control", "no-store")
		_ = json.NewEncoder(w).Encode(report) // fails if the client is gone
	})
}

// topicOf reads a topic from the parameters of a request.
func topicOf(guild, logs string) (t event.Topic, ok bool) {
	if logs == "" {
		logs = "false"
	}
	var err error
	t.Guild = guild
	t.Logs, err = strconv.ParseBool(logs)
	return t, err == nil && (guild == "" || event.ValidID(guild))
}
