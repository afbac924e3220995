package deploy

import (
	"maps"
	"net/http"
	"path"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	monitoringv1 "github.com/prometheus-operator/prometheus-operator/pkg/apis/monitoring/v1"
	"helm.sh/helm/v4/pkg/chart/common"
	"helm.sh/helm/v4/pkg/chart/common/util"
	"helm.sh/helm/v4/pkg/chart/v2/lint"
	"helm.sh/helm/v4/pkg/chart/v2/loader"
	"helm.sh/helm/v4/pkg/engine"
	appsv1 "k8s.io/api/apps/v1"
	autoscalingv2 "k8s.io/api/autoscaling/v2"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	policyv1 "k8s.io/api/policy/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/serializer"
	"k8s.io/client-go/kubernetes/scheme"
	"sigs.k8s.io/yaml"
)

const chartFolder = "../../deploy/helm/guildcast"

// valueSets are values that people may give, as YAML: nothing, everything, and keys of tokens that are public.
var valueSets = map[string]string{
	"defaults": "{}",
	"everything": `
image: {tag: 1.2.3}
imagePullSecrets: [{name: registry}]
config:
  redis: redis+sentinel://sentinel-0:26379,sentinel-1:26379/main/0
  origins: [https://board.example.com]
  path: /live
  max-queue-bytes: 33554432
  topic-prefix: "gc:"
  limit-user-rate: 100
  ping-interval: 20s
policy: '{"kinds": {"ticket": ["VIEW_SETTINGS"]}}'
secrets:
  redis: {name: redis}
  cluster: {name: cluster}
tls: {secretName: node-tls}
trustedProxies: [10.0.0.0/8, "2001:db8::/32"]
drain: {delaySeconds: 10, graceSeconds: 60}
ingress:
  enabled: true
  className: nginx
  annotations: {nginx.ingress.kubernetes.io/proxy-read-timeout: "90"}
  hosts: [board.example.com]
  tls: [{hosts: [board.example.com], secretName: board}]
hpa: {enabled: true}
networkPolicy:
  enabled: true
  clients: [{namespaceSelector: {matchLabels: {kubernetes.io/metadata.name: ingress}}}]
  admin: [{namespaceSelector: {matchLabels: {kubernetes.io/metadata.name: monitoring}}}]
serviceMonitor: {enabled: true, labels: {release: prometheus}}
prometheusRule: {enabled: true, labels: {release: prometheus}}
relay: {enabled: true, options: {from-prefix: "old:", max-entries: 1000000, max-age: 2h, lease: 500ms}}
podAnnotations: {a: b}
podLabels: {c: d}
nodeSelector: {kubernetes.io/os: linux}
tolerations: [{key: dedicated, operator: Exists}]
affinity: {podAntiAffinity: {}}
env: [{name: GUILDCAST_LOG_LEVEL, value: debug}]
`,
	"a relay without a password": `
config: {redis: "redis://redis:6379/0", topic-prefix: "gc:", topics: plain}
relay: {enabled: true, replicas: 3}
networkPolicy: {enabled: true}
`,
	"public keys": `
config: {redis: "redis://redis:6379/0", jwt-jwks: /etc/guildcast/jwks}
secrets: {jwt: {name: ""}, cluster: {name: cluster}}
restartOnConfigChange: false
pdb: {enabled: false}
`,
}

// TestChart lints the chart and renders it, as helm lint and helm template do, decodes what comes out as Kubernetes
// does, without unknown fields, and holds it against itself and against the binary.
func TestChart(t *testing.T) {
	for name, text := range valueSets {
		t.Run(name, func(t *testing.T) {
			values := map[string]any{}
			if err := yaml.Unmarshal([]byte(text), &values); err != nil {
				t.Fatal(err)
			}
			for _, m := range lint.RunAll(chartFolder, values, "board").Messages {
				if !strings.Contains(m.Error(), "icon is recommended") {
					t.Error(m)
				}
			}
			objects, err := render(t, values)
			if err != nil {
				t.Fatal(err)
			}
			checkPods(t, objects)
			checkConfiguration(t, objects)
			checkRules(t, objects)
			if objects.relay.deployment != nil {
				checkRelay(t, objects)
			}
		})
	}
}

// objects are what the chart makes of values.
type objects struct {
	deployment *appsv1.Deployment
	config     *corev1.ConfigMap
	services   []*corev1.Service
	ingress    *networkingv1.Ingress
	policy     *networkingv1.NetworkPolicy
	budget     *policyv1.PodDisruptionBudget
	scaler     *autoscalingv2.HorizontalPodAutoscaler
	monitor    *monitoringv1.ServiceMonitor
	rule       *monitoringv1.PrometheusRule
	relay      relayObjects
}

func render(t *testing.T, values map[string]any) (*objects, error) {
	t.Helper()
	chart, err := loader.Load(chartFolder)
	if err != nil {
		t.Fatal(err)
	}
	release := common.ReleaseOptions{Name: "live", Namespace: "board", IsInstall: true, Revision: 1}
	all, err := util.ToRenderValues(chart, values, release, common.DefaultCapabilities)
	if err != nil {
		return nil, err
	}
	files, err := engine.Render(chart, all)
	if err != nil {
		return nil, err
	}
	known := runtime.NewScheme()
	for _, add := range []func(*runtime.Scheme) error{scheme.AddToScheme, monitoringv1.AddToScheme} {
		if err := add(known); err != nil {
			t.Fatal(err)
		}
	}
	decoder := serializer.NewCodecFactory(known, serializer.EnableStrict).UniversalDeserializer()
	var o objects
	for name, text := range files {
		if path.Ext(name) != ".yaml" {
			continue
		}
		for _, document := range regexp.MustCompile(`(?m)^---$`).Split(text, -1) {
			if strings.TrimSpace(document) == "" {
				continue
			}
			object, _, err := decoder.Decode([]byte(document), nil, nil)
			if err != nil {
				t.Fatalf("%s: %v\n%s", name, err, document)
			}
			o.add(t, object)
		}
	}
	return &o, nil
}

func (o *objects) add(t *testing.T, object runtime.Object) {
	t.Helper()
	if o.relay.add(object) {
		return
	}
	switch object := object.(type) {
	case *appsv1.Deployment:
		o.deployment = object
	case *corev1.ConfigMap:
		o.config = object
	case *corev1.Service:
		o.services = append(o.services, object)
	case *networkingv1.Ingress:
		o.ingress = object
	case *networkingv1.NetworkPolicy:
		o.policy = object
	case *policyv1.PodDisruptionBudget:
		o.budget = object
	case *autoscalingv2.HorizontalPodAutoscaler:
		o.scaler = object
	case *monitoringv1.ServiceMonitor:
		o.monitor = object
	case *monitoringv1.PrometheusRule:
		o.rule = object
	default:
		t.Errorf("the chart makes a %T, which nothing here looks at", object)
	}
}

// checkPods holds what selects pods and their ports against the pods.
func checkPods(t *testing.T, o *objects) {
	t.Helper()
	pod := o.deployment.Spec.Template
	selects := func(what string, selector map[string]string) {
		if len(selector) == 0 || !labels.SelectorFromSet(selector).Matches(labels.Set(pod.Labels)) {
			t.Errorf("%s selects %v, and pods have %v", what, selector, pod.Labels)
		}
	}
	ports := map[string]bool{}
	for _, p := range pod.Spec.Containers[0].Ports {
		ports[p.Name] = true
	}
	selects("the deployment", o.deployment.Spec.Selector.MatchLabels)
	for _, s := range o.services {
		selects("a service", s.Spec.Selector)
		for _, p := range s.Spec.Ports {
			if !ports[p.TargetPort.String()] {
				t.Errorf("service %s leads to port %s, which no pod has", s.Name, p.TargetPort.String())
			}
		}
		if s.Spec.SessionAffinity == corev1.ServiceAffinityClientIP {
			t.Errorf("service %s has sticky sessions", s.Name)
		}
	}
	mounted := map[string]bool{}
	for _, m := range pod.Spec.Containers[0].VolumeMounts {
		mounted[m.Name] = true
		if m.SubPath != "" {
			t.Errorf("%s is mounted by subPath, and would never change", m.Name)
		}
	}
	for _, v := range pod.Spec.Volumes {
		if !mounted[v.Name] {
			t.Errorf("volume %s is not mounted", v.Name)
		}
	}
	if o.budget != nil {
		selects("the disruption budget", o.budget.Spec.Selector.MatchLabels)
	}
	if o.policy != nil {
		selects("the network policy", o.policy.Spec.PodSelector.MatchLabels)
		checkPolicy(t, o, ports, selects)
	}
	if o.ingress != nil {
		checkIngress(t, o)
	}
	if o.monitor != nil {
		checkMonitor(t, o)
	}
	if (o.scaler == nil) != (o.deployment.Spec.Replicas != nil) {
		t.Error("replicas are set by both the deployment and the autoscaler, or by none")
	}
	if o.scaler != nil && o.scaler.Spec.ScaleTargetRef.Name != o.deployment.Name {
		t.Errorf("the autoscaler scales %s", o.scaler.Spec.ScaleTargetRef.Name)
	}
}

func checkPolicy(t *testing.T, o *objects, ports map[string]bool, selects func(string, map[string]string)) {
	t.Helper()
	for _, rule := range o.policy.Spec.Ingress {
		port := rule.Ports[0].Port.String()
		if !ports[port] {
			t.Errorf("the network policy opens %s, which no pod has", port)
		}
		if port == "admin" && len(rule.From) == 0 {
			t.Error("anybody can reach the admin port")
		}
		if port == "clients" && len(rule.From) > 0 {
			selects("the policy's rule for nodes", rule.From[len(rule.From)-1].PodSelector.MatchLabels)
		}
	}
}

func checkIngress(t *testing.T, o *objects) {
	t.Helper()
	for _, rule := range o.ingress.Spec.Rules {
		backend := rule.HTTP.Paths[0].Backend.Service
		if !o.hasService(backend.Name, backend.Port.Name) || rule.HTTP.Paths[0].Path != "/live/" {
			t.Errorf("the ingress leads %s to %+v", rule.HTTP.Paths[0].Path, backend)
		}
	}
	for name := range o.ingress.Annotations {
		if strings.Contains(name, "affinity") {
			t.Errorf("the ingress has sticky sessions: %s", name)
		}
	}
}

func (o *objects) hasService(name, port string) bool {
	return slices.ContainsFunc(o.services, func(s *corev1.Service) bool {
		return s.Name == name && slices.ContainsFunc(s.Spec.Ports, func(p corev1.ServicePort) bool {
			return p.Name == port
		})
	})
}

func checkMonitor(t *testing.T, o *objects) {
	t.Helper()
	scraped := 0
	services := o.services
	if o.relay.service != nil {
		services = append(services, o.relay.service)
	}
	for _, s := range services {
		if !labels.SelectorFromSet(o.monitor.Spec.Selector.MatchLabels).Matches(labels.Set(s.Labels)) {
			continue
		}
		scraped++
		if s.Spec.Ports[0].Name != o.monitor.Spec.Endpoints[0].Port || !s.Spec.PublishNotReadyAddresses {
			t.Errorf("service %s is scraped: %+v", s.Name, s.Spec)
		}
	}
	if want := len(services) - 1; scraped != want { // all but the clients' one
		t.Errorf("%d services are scraped, want %d", scraped, want)
	}
}

// checkConfiguration has the binary check the configuration, and runs a node with it: the probes must be answered, and
// the metric be there that the autoscaler goes by. The pod must have the time for the drain.
func checkConfiguration(t *testing.T, o *objects) {
	t.Helper()
	pod := o.deployment.Spec.Template.Spec
	container := pod.Containers[0]
	file := o.config.Data["guildcast.yaml"]
	var options map[string]any
	if err := yaml.Unmarshal([]byte(file), &options); err != nil {
		t.Fatal(err)
	}
	drain := duration(t, options["drain-delay"]) + duration(t, options["grace"])
	if grace := time.Duration(*pod.TerminationGracePeriodSeconds) * time.Second; grace < drain+15*time.Second {
		t.Errorf("pods have %s to end, and a node may take %s and 15 s", grace, drain)
	}
	config := inDirectory(t, o, file)
	env := []string{}
	for _, e := range container.Env {
		if e.ValueFrom != nil {
			e.Value = "redis://:secret@redis:6379/0"
		}
		env = append(env, e.Name+"="+e.Value)
	}
	args := container.Args
	if want := []string{"serve", "--config", "/etc/guildcast/guildcast.yaml"}; !slices.Equal(args, want) {
		t.Fatalf("arguments %q", args)
	}
	out, err := run(t, env, "config", "check", "--config", config)
	if err != nil || strings.TrimSpace(out) != "ok" {
		t.Fatalf("guildcast config check: %v\n%s\n%s", err, out, file)
	}
	admin := serve(t, config)
	for what, probe := range map[string]*corev1.Probe{
		"startup": container.StartupProbe, "readiness": container.ReadinessProbe, "liveness": container.LivenessProbe,
	} {
		if code, _, err := get(admin + probe.HTTPGet.Path); err != nil || code != http.StatusOK {
			t.Errorf("%s probe: %d, %v", what, code, err)
		}
		if probe.HTTPGet.Port.String() != "admin" {
			t.Errorf("%s probe goes to %s", what, probe.HTTPGet.Port.String())
		}
	}
	_, metrics, err := get(admin + "/metrics")
	if err != nil {
		t.Fatal(err)
	}
	if o.scaler == nil {
		return
	}
	name := o.scaler.Spec.Metrics[0].Pods.Metric.Name
	if !regexp.MustCompile(`(?m)^# TYPE ` + name + ` gauge$`).MatchString(metrics) {
		t.Errorf("a node has no gauge %s, by which the autoscaler goes", name)
	}
}

func duration(t *testing.T, value any) time.Duration {
	t.Helper()
	text, _ := value.(string)
	d, err := time.ParseDuration(text)
	if err != nil {
		t.Error(err)
	}
	return d
}

// inDirectory writes what pods have mounted, and the configuration with the paths of that, and returns its path.
func inDirectory(t *testing.T, o *objects, config string) string {
	t.Helper()
	dir := t.TempDir()
	pod := o.deployment.Spec.Template.Spec
	content := map[string]func(at string){}
	for _, v := range pod.Volumes {
		switch {
		case v.ConfigMap != nil:
			content[v.Name] = func(at string) {
				for name, text := range o.config.Data {
					write(t, dir, path.Join(at, name), text)
				}
				write(t, dir, path.Join(at, "jwks"), `{"keys": []}`) // an operator's, from elsewhere
			}
		case v.Secret != nil && v.Secret.Items == nil:
			content[v.Name] = func(at string) { writeCertificate(t, dir, at) }
		case v.Secret != nil:
			content[v.Name] = func(at string) {
				write(t, dir, path.Join(at, v.Secret.Items[0].Path), strings.Repeat("secret", 8))
			}
		}
	}
	for _, m := range pod.Containers[0].VolumeMounts {
		content[m.Name](m.MountPath)
		config = strings.ReplaceAll(config, " "+m.MountPath+"/", " "+path.Join(dir, m.MountPath)+"/")
	}
	return write(t, dir, "guildcast.yaml", config)
}

// TestChartRefuses has the schema refuse values that would not do what they say.
func TestChartRefuses(t *testing.T) {
	for name, text := range map[string]string{
		"a misspelt value":                 "replica: 3",
		"a misspelt value below":           "drain: {delaySeconds: 5, graceSecond: 20}",
		"an option that the chart sets":    "config: {redis: \"redis://redis:6379/0\", grace: 60s}",
		"a secret in the configuration":    "config: {jwt-secret: abc}",
		"a time-out as a text":             "drain: {delaySeconds: 5s, graceSeconds: 20}",
		"an ingress without a host":        "ingress: {enabled: true}",
		"a proxy without a mask":           "trustedProxies: [10.0.0.1]",
		"a budget that allows no end":      "pdb: {maxUnavailable: 0}",
		"an option by its variable's name": "config: {GUILDCAST_REDIS: x}",
		"a relay that would hear itself":   "relay: {enabled: true}",
		"a relay's option that is none":    "{config: {topic-prefix: x}, relay: {enabled: true, options: {to-prefix: x}}}",
	} {
		values := map[string]any{}
		if err := yaml.Unmarshal([]byte(text), &values); err != nil {
			t.Fatal(err)
		}
		if _, err := render(t, values); err == nil {
			t.Errorf("%s: rendered", name)
		}
	}
}

// TestChartLeavesNothingOut fails for a file of the chart that no set of values brings out.
func TestChartLeavesNothingOut(t *testing.T) {
	values := map[string]any{}
	if err := yaml.Unmarshal([]byte(valueSets["everything"]), &values); err != nil {
		t.Fatal(err)
	}
	o, err := render(t, values)
	if err != nil {
		t.Fatal(err)
	}
	for name, there := range maps.All(map[string]bool{
		"deployment": o.deployment != nil, "configmap": o.config != nil, "service": len(o.services) == 2,
		"ingress": o.ingress != nil, "networkpolicy": o.policy != nil, "pdb": o.budget != nil, "hpa": o.scaler != nil,
		"servicemonitor": o.monitor != nil, "prometheusrule": o.rule != nil, "relay": o.relay.deployment != nil,
	}) {
		if !there {
			t.Errorf("no %s", name)
		}
	}
}
