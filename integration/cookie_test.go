//go:build integration

package integration

import (
	"encoding/json"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/golang-jwt/jwt/v5"
)

// poller is a client that polls, and sends each request where it is told to.
type poller struct {
	t       *testing.T
	sid     string
	headers http.Header
}

// request sends a request of the session to a node and returns the answer's packets.
func (p *poller) request(n *node, method, body string) []string {
	p.t.Helper()
	url := n.url + "/socket.io/?EIO=4&transport=polling"
	if p.sid != "" {
		url += "&sid=" + p.sid
	}
	r, err := http.NewRequestWithContext(p.t.Context(), method, url, strings.NewReader(body))
	if err != nil {
		p.t.Fatal(err)
	}
	r.Header = p.headers.Clone()
	response, err := (&http.Client{Timeout: patience}).Do(r)
	if err != nil {
		p.t.Fatal(err)
	}
	defer response.Body.Close()
	answer, err := io.ReadAll(response.Body)
	if err != nil || response.StatusCode != http.StatusOK {
		p.t.Fatalf("%s %s: %s, %s, %v", method, url, response.Status, answer, err)
	}
	return strings.Split(string(answer), "\x1e")
}

// open begins a session at a node and joins the namespace; answers are packets that came with that.
func (p *poller) open(n *node) (answers []string) {
	p.t.Helper()
	var open struct{ SID string }
	if err := json.Unmarshal([]byte(p.request(n, http.MethodGet, "")[0][1:]), &open); err != nil {
		p.t.Fatal(err)
	}
	p.sid = open.SID
	p.request(n, http.MethodPost, "40")
	for len(answers) == 0 || !strings.HasPrefix(answers[0], "40") {
		answers = p.request(n, http.MethodGet, "")
	}
	return answers[1:]
}

// await polls a node until there is an event, beside those that came already.
func (p *poller) await(n *node, came []string) string {
	p.t.Helper()
	for {
		for _, packet := range came {
			if strings.HasPrefix(packet, "42") {
				return packet
			}
		}
		came = p.request(n, http.MethodGet, "")
	}
}

// TestCookieAndOtherNodes holds that a session is as its handshake has made it, whichever node its requests come to,
// and whatever cookies these have.
func TestCookieAndOtherNodes(t *testing.T) {
	beside(t)
	r := startRedis(t)
	const page = "https://board.example.com"
	env := []string{"GUILDCAST_TOKEN_COOKIE=token", "GUILDCAST_ORIGINS=" + page}
	own, other := startNode(t, "own", r.url, env...), startNode(t, "other", r.url, env...)
	token := mint(t, jwt.MapClaims{"guilds": guilds{guild: 0}})
	with := http.Header{"Origin": {page}, "Cookie": {"token=" + token}}
	without := http.Header{"Origin": {page}}
	demote := `42["demote",{"token":"` + token + `"}]`

	p := &poller{t: t, headers: with}
	came := p.open(own)
	p.headers = without
	if got := p.await(other, came); !strings.Contains(got, `"success":true`) {
		t.Fatalf("got %s", got)
	}
	p.request(other, http.MethodPost, demote)
	if got := p.await(other, nil); !strings.HasPrefix(got, `42["elevation_expired"`) {
		t.Errorf("the elevated socket got %s", got)
	}

	p = &poller{t: t, headers: without}
	came = p.open(own)
	p.headers = with
	p.request(other, http.MethodPost, demote)
	if got := p.await(other, came); !strings.Contains(got, `"not_elevated"`) {
		t.Errorf("the socket that is not elevated got %s", got)
	}

	// A handshake that comes as if from a node is refused, so that nobody gets around the look at the page.
	request, err := http.NewRequestWithContext(t.Context(), http.MethodGet,
		own.url+"/.guildcast/forward/socket.io/?EIO=4&transport=polling", http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	request.Header = http.Header{"Cookie": {"token=" + token}, "Sec-Fetch-Site": {"same-origin"}}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	response.Body.Close()
	if response.StatusCode != http.StatusForbidden {
		t.Errorf("status %d", response.StatusCode)
	}
}
