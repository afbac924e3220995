package node

import (
	"testing"

	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/architus/guildcast/token"
)

// TestMetricsLint holds names and units against promtool's rules.
func TestMetricsLint(t *testing.T) {
	n, err := New(Config{Addr: "127.0.0.1:0", JWTSecrets: []token.Secret{{Key: []byte("secret")}}})
	if err != nil {
		t.Fatal(err)
	}
	defer n.discard()
	problems, err := testutil.GatherAndLint(n.registry)
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range problems {
		t.Errorf("%s: %s", p.Metric, p.Text)
	}
	count, err := testutil.GatherAndCount(n.registry)
	if err != nil || count < 100 {
		t.Errorf("%d metrics, %v: there is nothing to look at", count, err)
	}
}
