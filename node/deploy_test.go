package node

import (
	"encoding/json"
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"
	"go.yaml.in/yaml/v4"

	"github.com/architus/guildcast/token"
)

// rules is what deploy/alerts.yml holds.
type rules struct {
	Groups []struct {
		Name  string
		Rules []struct {
			Alert, Expr, For    string
			Labels, Annotations map[string]string
		}
	}
}

// dashboard is what deploy/grafana-dashboard.json holds.
type dashboard struct {
	Panels []struct {
		ID      int
		Title   string
		Targets []struct{ Expr string }
	}
}

// TestDashboardAndAlerts holds the files for Grafana and Prometheus against the metrics and labels that a node has.
func TestDashboardAndAlerts(t *testing.T) {
	has := metricsOfNode(t)
	var alerts rules
	if err := yaml.Unmarshal(read(t, "alerts.yml"), &alerts); err != nil {
		t.Fatal(err)
	}
	checked, names := 0, map[string]bool{}
	for _, group := range alerts.Groups {
		for _, r := range group.Rules {
			if r.Alert == "" || names[r.Alert] || r.Labels["severity"] == "" || r.Annotations["summary"] == "" {
				t.Errorf("an alert is incomplete, or twice: %+v", r)
			}
			names[r.Alert] = true
			if group.Name != "guildcast-relay" { // TestChart holds those against a relay
				checked += checkExpression(t, r.Expr, has)
			}
		}
	}
	var board dashboard
	if err := json.Unmarshal(read(t, "grafana-dashboard.json"), &board); err != nil {
		t.Fatal(err)
	}
	ids := map[int]bool{}
	for _, p := range board.Panels {
		if p.Title == "" || ids[p.ID] || len(p.Targets) == 0 {
			t.Errorf("a panel is incomplete, or twice: %+v", p)
		}
		ids[p.ID] = true
		for _, target := range p.Targets {
			checked += checkExpression(t, target.Expr, has)
		}
	}
	if checked < 40 {
		t.Errorf("only %d metrics were found in the files", checked)
	}
}

func read(t *testing.T, name string) []byte {
	t.Helper()
	data, err := os.ReadFile("../deploy/" + name)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// metricsOfNode returns the series that a node has, by name, each with the names of its labels.
func metricsOfNode(t *testing.T) map[string]map[string]bool {
	t.Helper()
	n, err := New(Config{Addr: "127.0.0.1:0", JWTSecrets: []token.Secret{{Key: []byte("secret")}}})
	if err != nil {
		t.Fatal(err)
	}
	defer n.discard()
	has := map[string]map[string]bool{}
	families, err := n.registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		labels := map[string]bool{"instance": true, "job": true} // of Prometheus itself
		for _, l := range f.GetMetric()[0].GetLabel() {
			labels[l.GetName()] = true
		}
		has[f.GetName()] = labels
		if f.GetType() == dto.MetricType_HISTOGRAM {
			labels["le"] = true
			has[f.GetName()+"_bucket"] = labels
		}
	}
	// What has no series before something happens: asked of the descriptions.
	descriptions := make(chan *prometheus.Desc, 1000)
	n.registry.Describe(descriptions)
	close(descriptions)
	for d := range descriptions {
		m := described.FindStringSubmatch(d.String())
		if m == nil || has[m[1]] != nil {
			continue
		}
		has[m[1]] = map[string]bool{"instance": true, "job": true}
		for l := range strings.SplitSeq(m[2], ",") {
			has[m[1]][l] = true
		}
	}
	return has
}

var (
	described = regexp.MustCompile(`fqName: "([^"]+)".*variableLabels: \{([^}]*)\}`)
	series    = regexp.MustCompile(`\b(guildcast|process|go)_\w+`)
	grouping  = regexp.MustCompile(`by \(([^)]*)\)`)
	matching  = regexp.MustCompile(`(\w+)=~?"`)
)

// checkExpression looks up the metrics of an expression and the labels that it names. It returns how many metrics.
func checkExpression(t *testing.T, expression string, has map[string]map[string]bool) int {
	t.Helper()
	names := series.FindAllString(expression, -1)
	if len(names) == 0 {
		t.Errorf("no metric in %q", expression)
	}
	for _, name := range names {
		if has[name] == nil {
			t.Errorf("a node has no %s, which %q asks for", name, expression)
			continue
		}
		var labels []string
		for _, m := range grouping.FindAllStringSubmatch(expression, -1) {
			labels = append(labels, strings.Split(m[1], ",")...)
		}
		for _, m := range matching.FindAllStringSubmatch(expression, -1) {
			labels = append(labels, m[1])
		}
		for _, l := range labels {
			if l = strings.TrimSpace(l); !has[name][l] {
				t.Errorf("%s has no label %q, which %q asks for", name, l, expression)
			}
		}
	}
	return len(names)
}
