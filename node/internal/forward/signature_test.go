package forward

import (
	"net/http"
	"strings"
	"testing"
	"time"
)

// TestSignature verifies what another node has signed, and what somebody has made of it.
func TestSignature(t *testing.T) {
	const method, uri, address = "POST", "/socket.io/?EIO=4&sid=x", "192.0.2.7:51234"
	now := time.Unix(1790000000, 0)
	knows := func(id string, at time.Time, secrets ...string) *signer {
		c := &clock{}
		c.set(at)
		s := newSigner(id, c)
		keys := [][]byte{}
		for _, text := range secrets {
			keys = append(keys, []byte(text))
		}
		s.setSecrets(keys)
		return s
	}
	signed := func(s *signer) string { return s.sign("owner1", method, uri, address) }
	good := signed(knows("sender", now, "secret"))
	swap := func(field int, by string) string {
		fields := strings.Split(good, " ")
		fields[field] = by
		return strings.Join(fields, " ")
	}
	for name, c := range map[string]struct {
		header      string
		method, uri string
		owner       *signer
		want        error
	}{
		"as it is":           {header: good},
		"a new secret":       {header: signed(knows("sender", now, "new", "secret"))},
		"an old secret":      {header: good, owner: knows("owner1", now, "new", "secret")},
		"another secret":     {header: signed(knows("sender", now, "guessed")), want: errSignature},
		"no secret":          {header: signed(knows("sender", now)), owner: knows("owner1", now), want: errSignature},
		"another method":     {header: good, method: "GET", want: errSignature},
		"another session":    {header: good, uri: "/socket.io/?EIO=4&sid=y", want: errSignature},
		"another node":       {header: good, owner: knows("owner2", now, "secret"), want: errSignature},
		"another address":    {header: swap(3, "192.0.2.8:51234"), want: errSignature},
		"another time":       {header: swap(1, "1790000001000"), want: errSignature},
		"another nonce":      {header: swap(2, "AAAAAAAAAAAAAAAAAAAAAA"), want: errSignature},
		"an empty signature": {header: swap(4, ""), want: errSignature},
		"too many":           {header: good + strings.Repeat(","+strings.Fields(good)[4], maxKeys), want: errSignature},
		"nothing":            {want: errUnsigned},
		"another version":    {header: swap(0, "v2"), want: errUnsigned},
		"old":                {header: signed(knows("sender", now.Add(-2*window), "secret")), want: errStale},
		"ahead":              {header: signed(knows("sender", now.Add(2*window), "secret")), want: errStale},
	} {
		t.Run(name, func(t *testing.T) {
			if c.owner == nil {
				c.owner = knows("owner1", now, "secret")
			}
			if c.method == "" {
				c.method = method
			}
			if c.uri == "" {
				c.uri = uri
			}
			h := http.Header{}
			if c.header != "" {
				h.Set(header, c.header)
			}
			got, err := c.owner.verify(c.method, c.uri, h)
			if err != c.want || err == nil && got != address {
				t.Errorf("address %q, error %v, want %v", got, err, c.want)
			}
			if err == nil {
				if _, err := c.owner.verify(c.method, c.uri, h); err != errReplayed {
					t.Errorf("the second time: %v", err)
				}
			}
		})
	}
	two := http.Header{}
	two.Add(header, good)
	two.Add(header, good)
	if _, err := knows("owner1", now, "secret").verify(method, uri, two); err != errUnsigned {
		t.Errorf("two headers: %v", err)
	}
	if h := newSigner("sender", &clock{}).sign("owner1", method, uri, address); h != "" {
		t.Errorf("signed without the time: %s", h)
	}
}

// TestNonces keeps each nonce for as long as its signature can be good, and no longer than twice that.
func TestNonces(t *testing.T) {
	n, now := nonces{}, time.Unix(1790000000, 0)
	if !n.add("a", now) {
		t.Fatal("the first one is known")
	}
	for _, after := range []time.Duration{0, window, 2 * window, 2*window + 1} {
		if n.add("a", now.Add(after)) {
			t.Errorf("forgotten after %s", after)
		}
	}
	if !n.add("a", now.Add(time.Hour)) || len(n.old)+len(n.recent) != 1 {
		t.Errorf("%d nonces after an hour", len(n.old)+len(n.recent))
	}
}
