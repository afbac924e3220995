package deploy

import (
	"bytes"
	"os"
	"strings"
	"testing"
	"text/template"
	"time"

	"go.yaml.in/yaml/v4"
)

// TestTraefik reads Traefik's files strictly, as Traefik does: a key that is misspelt fails. No package of Traefik can
// be installed for a test, and its own types take three hundred modules with them, some of which can't be downloaded;
// so the types here have what its reference lists of the options that the files use.
func TestTraefik(t *testing.T) {
	var static traefikStatic
	decodeStrictly(t, read(t, "deploy/traefik/traefik.yml"), &static)
	web, ok := static.EntryPoints["web"]
	if !ok || static.Ping.EntryPoint != "web" || static.Providers.File.Filename != "nodes.yml" {
		t.Errorf("parts do not fit together: %+v", static)
	}
	if timeouts := web.Transport.RespondingTimeouts; timeouts.WriteTimeout != 0 || timeouts.ReadTimeout <= 0 {
		t.Errorf("polls and WebSockets are bounded: %+v", timeouts)
	}

	// Traefik runs the file provider's files through Go templates.
	env := map[string]string{"GUILDCAST_1": "a:1", "GUILDCAST_2": "b:2", "GUILDCAST_3": "c:3"}
	file, err := template.New("nodes").Option("missingkey=error").Funcs(template.FuncMap{
		"env": func(name string) string { return env[name] },
	}).Parse(string(read(t, "deploy/traefik/nodes.yml")))
	if err != nil {
		t.Fatal(err)
	}
	var text bytes.Buffer
	if err := file.Execute(&text, nil); err != nil {
		t.Fatal(err)
	}
	var dynamic traefikDynamic
	decodeStrictly(t, text.Bytes(), &dynamic)
	router := dynamic.HTTP.Routers["guildcast"]
	if router.Rule != "PathPrefix(`/socket.io/`)" || len(router.EntryPoints) != 1 || router.EntryPoints[0] != "web" {
		t.Errorf("router: %+v", router)
	}
	for _, name := range router.Middlewares {
		if retry := dynamic.HTTP.Middlewares[name].Retry; retry.Attempts < 2 {
			t.Errorf("middleware %s: %+v", name, retry)
		}
	}
	balancer := dynamic.HTTP.Services[router.Service].LoadBalancer
	if balancer.HealthCheck.Path != "/readyz" || !balancer.PassHostHeader {
		t.Errorf("service: %+v", balancer)
	}
	var urls []string
	for _, s := range balancer.Servers {
		urls = append(urls, s.URL)
	}
	if got := strings.Join(urls, " "); got != "http://a:1 http://b:2 http://c:3" {
		t.Errorf("nodes: %s", got)
	}
	transport, ok := dynamic.HTTP.ServersTransports[balancer.ServersTransport]
	// A poll takes up to --ping-interval; a client has --ping-timeout after that.
	if wait := transport.ForwardingTimeouts.ResponseHeaderTimeout; !ok || wait <= 45*time.Second {
		t.Errorf("transport: %+v", transport)
	}
}

type traefikStatic struct {
	EntryPoints map[string]struct {
		Address   string
		Transport struct {
			RespondingTimeouts struct {
				ReadTimeout  time.Duration `yaml:"readTimeout"`
				WriteTimeout time.Duration `yaml:"writeTimeout"`
				IdleTimeout  time.Duration `yaml:"idleTimeout"`
			} `yaml:"respondingTimeouts"`
			LifeCycle struct {
				RequestAcceptGraceTimeout time.Duration `yaml:"requestAcceptGraceTimeout"`
				GraceTimeOut              time.Duration `yaml:"graceTimeOut"`
			} `yaml:"lifeCycle"`
		}
	} `yaml:"entryPoints"`
	Ping struct {
		EntryPoint string `yaml:"entryPoint"`
	}
	Providers struct {
		File struct {
			Filename string
			Watch    bool
		}
	}
}

type traefikDynamic struct {
	HTTP struct {
		Routers map[string]struct {
			Rule        string
			EntryPoints []string `yaml:"entryPoints"`
			Middlewares []string
			Service     string
		}
		Middlewares map[string]struct {
			Retry struct {
				Attempts        int
				InitialInterval time.Duration `yaml:"initialInterval"`
			}
		}
		Services map[string]struct {
			LoadBalancer struct {
				Servers     []struct{ URL string }
				HealthCheck struct {
					Path              string
					Interval, Timeout time.Duration
				} `yaml:"healthCheck"`
				PassHostHeader   bool   `yaml:"passHostHeader"`
				ServersTransport string `yaml:"serversTransport"`
			} `yaml:"loadBalancer"`
		}
		ServersTransports map[string]struct {
			ForwardingTimeouts struct {
				DialTimeout           time.Duration `yaml:"dialTimeout"`
				ResponseHeaderTimeout time.Duration `yaml:"responseHeaderTimeout"`
				IdleConnTimeout       time.Duration `yaml:"idleConnTimeout"`
			} `yaml:"forwardingTimeouts"`
		} `yaml:"serversTransports"`
	}
}

// decodeStrictly fails for a key that into has no field for.
func decodeStrictly(t *testing.T, text []byte, into any) {
	t.Helper()
	decoder := yaml.NewDecoder(bytes.NewReader(text))
	decoder.KnownFields(true)
	if err := decoder.Decode(into); err != nil {
		t.Fatal(err)
	}
}

// read returns the content of a file of the repository.
func read(t *testing.T, path string) []byte {
	t.Helper()
	text, err := os.ReadFile("../../" + path)
	if err != nil {
		t.Fatal(err)
	}
	return text
}
