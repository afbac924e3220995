package deploy

import (
	"fmt"
	"net/http"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"

	monitoringv1 "github.com/prometheus-operator/prometheus-operator/pkg/apis/monitoring/v1"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	policyv1 "k8s.io/api/policy/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime"
	"sigs.k8s.io/yaml"
)

// relayObjects are what the chart makes of the values of the relay.
type relayObjects struct {
	deployment *appsv1.Deployment
	service    *corev1.Service
	policy     *networkingv1.NetworkPolicy
	budget     *policyv1.PodDisruptionBudget
}

// add reports whether an object is one of the relay.
func (o *relayObjects) add(object runtime.Object) bool {
	named, ok := object.(interface{ GetName() string })
	if !ok || !strings.HasSuffix(named.GetName(), "-relay") {
		return false
	}
	switch object := object.(type) {
	case *appsv1.Deployment:
		o.deployment = object
	case *corev1.Service:
		o.service = object
	case *networkingv1.NetworkPolicy:
		o.policy = object
	case *policyv1.PodDisruptionBudget:
		o.budget = object
	default:
		return false
	}
	return true
}

// checkRelay holds the relay's selectors against its pods and those of nodes, and runs a relay as its container does:
// the probes must be answered, and the metrics be there that the alerts go by.
func checkRelay(t *testing.T, o *objects) {
	t.Helper()
	pod := o.relay.deployment.Spec.Template
	for what, selector := range map[string]map[string]string{
		"deployment": o.relay.deployment.Spec.Selector.MatchLabels, "service": o.relay.service.Spec.Selector,
		"budget": o.relay.budget.Spec.Selector.MatchLabels,
	} {
		if !selects(selector, pod.Labels) || selects(selector, o.deployment.Spec.Template.Labels) {
			t.Errorf("the relay's %s selects %v", what, selector)
		}
	}
	if selects(o.deployment.Spec.Selector.MatchLabels, pod.Labels) {
		t.Errorf("the nodes' deployment selects relays: %v", pod.Labels)
	}
	if (o.relay.policy == nil) != (o.policy == nil) {
		t.Error("only one of nodes and relays has a network policy")
	}
	if p := o.relay.policy; p != nil {
		anybody := func(r networkingv1.NetworkPolicyIngressRule) bool { return len(r.From) == 0 }
		if !selects(p.Spec.PodSelector.MatchLabels, pod.Labels) || slices.ContainsFunc(p.Spec.Ingress, anybody) {
			t.Errorf("the relay's network policy is %+v", p.Spec)
		}
	}
	if *o.relay.deployment.Spec.Replicas < 2 {
		t.Error("no relay stands by")
	}
	var nodes struct {
		Prefix string `json:"topic-prefix"`
	}
	if err := yaml.Unmarshal([]byte(o.config.Data["guildcast.yaml"]), &nodes); err != nil {
		t.Fatal(err)
	}
	if c := pod.Spec.Containers[0]; nodes.Prefix == "" || !slices.Contains(c.Args, "--to-prefix="+nodes.Prefix) {
		t.Errorf("nodes listen to %q, and the relay has %q", nodes.Prefix, c.Args)
	}
	runRelay(t, o, pod.Spec.Containers[0])
}

func selects(selector, of map[string]string) bool {
	return len(selector) > 0 && labels.SelectorFromSet(selector).Matches(labels.Set(of))
}

// runRelay runs the container's command against a Redis of the test.
func runRelay(t *testing.T, o *objects, c corev1.Container) {
	t.Helper()
	redis, addr := "redis://"+startRedis(t), freeAddr(t)
	var env []string
	for _, e := range c.Env {
		env = append(env, e.Name+"="+redis)
	}
	args := slices.Clone(c.Args)
	for i, arg := range args {
		switch name, _, _ := strings.Cut(arg, "="); name {
		case "--metrics-addr":
			args[i] = name + "=" + addr
		case "--redis":
			args[i] = name + "=" + redis
		}
	}
	relay := start(t, env, binary(t), args...)
	for _, probe := range []*corev1.Probe{c.ReadinessProbe, c.LivenessProbe} {
		relay.await(t, "answer to "+probe.HTTPGet.Path, func() bool {
			code, _, err := get("http://" + addr + probe.HTTPGet.Path)
			return err == nil && code == http.StatusOK
		})
		if port := probe.HTTPGet.Port.String(); port != "admin" || c.Ports[0].Name != port ||
			!slices.Contains(c.Args, fmt.Sprintf("--metrics-addr=:%d", c.Ports[0].ContainerPort)) {
			t.Errorf("a probe goes to %s, and a relay has %+v and %q", port, c.Ports, c.Args)
		}
	}
	_, metrics, err := get("http://" + addr + "/metrics")
	if err != nil {
		t.Fatal(err)
	}
	checked := 0
	alerts := readFile(t, "../../deploy", "alerts.yml")
	for _, name := range regexp.MustCompile(`guildcast_relay_\w+`).FindAllString(alerts, -1) {
		if checked++; !regexp.MustCompile(`(?m)^` + name + ` `).MatchString(metrics) {
			t.Errorf("a relay has no %s, by which an alert goes", name)
		}
	}
	if checked == 0 {
		t.Error("no alert goes by a relay")
	}
}

// checkRules holds the rule of the Prometheus operator against the file that others use.
func checkRules(t *testing.T, o *objects) {
	t.Helper()
	if o.rule == nil {
		return
	}
	var want monitoringv1.PrometheusRuleSpec
	if err := yaml.UnmarshalStrict([]byte(readFile(t, "../../deploy", "alerts.yml")), &want); err != nil {
		t.Fatal(err)
	}
	if len(want.Groups) == 0 || !reflect.DeepEqual(o.rule.Spec, want) {
		t.Errorf("the rule is %+v, want %+v", o.rule.Spec, want)
	}
}
