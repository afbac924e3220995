package deploy

import (
	"net/netip"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/compose-spec/compose-go/v2/cli"
	"github.com/compose-spec/compose-go/v2/types"
)

// topologies are the profiles of docker-compose.yml, of which one runs at a time, with the nodes that each has.
var topologies = map[string]int{"demo": 1, "single": 1, "mixed": 2, "sentinel": 3, "cluster": 3}

const composeFile = "../../docker-compose.yml"

// TestCompose reads docker-compose.yml as Compose does, by its schema, with each profile, and holds it against the
// files and the binary. There is no Docker here: scripts/cluster runs the same topologies, and integration tests run
// that.
func TestCompose(t *testing.T) {
	for profile, nodes := range topologies {
		t.Run(profile, func(t *testing.T) {
			p := load(t, profile, "monitoring")
			published, found := map[string]string{}, 0
			for name, s := range p.Services {
				checkFiles(t, s)
				for _, port := range s.Ports {
					if other, taken := published[port.Published]; taken {
						t.Errorf("%s and %s have the port %s", name, other, port.Published)
					}
					published[port.Published] = name
				}
				for variable, value := range s.Environment {
					if value != nil {
						checkHosts(t, p, name+" "+variable, *value)
					}
				}
				if s.Image == "guildcast" {
					found++
					checkNode(t, p, s)
				}
			}
			if found != nodes || published["8080"] == "" || published["3000"] == "" {
				t.Errorf("%d nodes; published: %v", found, published)
			}
		})
	}
}

// TestComposeProfiles fails for a profile that TestCompose does not know.
func TestComposeProfiles(t *testing.T) {
	all := load(t, "*")
	for name, s := range all.Services {
		if len(s.Profiles) == 0 {
			t.Errorf("%s has no profile, and would be part of each topology", name)
		}
		for _, profile := range s.Profiles {
			if topologies[profile] == 0 && profile != "monitoring" {
				t.Errorf("profile %s of %s is not tested", profile, name)
			}
		}
	}
}

func load(t *testing.T, profiles ...string) *types.Project {
	t.Helper()
	options, err := cli.NewProjectOptions([]string{composeFile}, cli.WithName("guildcast"), cli.WithProfiles(profiles),
		cli.WithEnv([]string{"JWT_SECRET=secret-of-at-least-thirty-two-bytes"}))
	if err != nil {
		t.Fatal(err)
	}
	p, err := options.LoadProject(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// checkFiles fails if a file is missing that a service is built from or mounts.
func checkFiles(t *testing.T, s types.ServiceConfig) {
	t.Helper()
	for _, v := range s.Volumes {
		if v.Type != types.VolumeTypeBind {
			continue
		}
		if info, err := os.Stat(v.Source); err != nil || !info.Mode().IsRegular() || !v.ReadOnly {
			t.Errorf("%s mounts %s: %v", s.Name, v.Source, err)
		}
	}
	if s.Build != nil {
		if _, err := os.Stat(filepath.Join(s.Build.Context, "Dockerfile")); err != nil {
			t.Errorf("%s: %v", s.Name, err)
		}
	}
	if s.Build == nil && !regexp.MustCompile(`^[a-z/]+:v?\d`).MatchString(s.Image) {
		t.Errorf("%s has the image %q", s.Name, s.Image)
	}
}

// address is a HOST:PORT in the value of a variable.
var address = regexp.MustCompile(`([a-z0-9][a-z0-9.-]*):(\d+)`)

// checkHosts fails for a host that the project has no service and no fixed address for.
func checkHosts(t *testing.T, p *types.Project, variable, value string) {
	t.Helper()
	for _, m := range address.FindAllStringSubmatch(value, -1) {
		_, service := p.Services[m[1]]
		if !service && addressee(p, m[1]) == "" {
			t.Errorf("%s names %s, which is nobody", variable, m[1])
		}
	}
}

// addressee returns the service that has a fixed address.
func addressee(p *types.Project, ip string) string {
	for name, s := range p.Services {
		if n := s.Networks["default"]; n != nil && n.Ipv4Address == ip {
			return name
		}
	}
	return ""
}

// checkNode has the binary check a node's options, and looks at what must fit them.
func checkNode(t *testing.T, p *types.Project, s types.ServiceConfig) {
	t.Helper()
	env := []string{}
	options := map[string]string{"GUILDCAST_DRAIN_DELAY": "0s", "GUILDCAST_GRACE": "10s"} // the defaults
	for name, value := range s.Environment {
		env, options[name] = append(env, name+"="+*value), *value
	}
	// What is said to serve, config check is told.
	var command []string
	if len(s.Command) > 1 {
		command = s.Command[1:]
	}
	if out, err := run(t, env, append([]string{"config", "check"}, command...)...); err != nil ||
		strings.TrimSpace(out) != "ok" {
		t.Errorf("%s: %v\n%s", s.Name, err, out)
	}
	drain := duration(t, options["GUILDCAST_DRAIN_DELAY"]) + duration(t, options["GUILDCAST_GRACE"])
	if grace := time.Duration(*s.StopGracePeriod); grace < drain+15*time.Second {
		t.Errorf("%s has %s to end, and may take %s and 15 s", s.Name, grace, drain)
	}
	if test := s.HealthCheck.Test; !slices.Equal(test, []string{"CMD", "/guildcast", "health", "--ready"}) {
		t.Errorf("%s: health check %q", s.Name, test)
	}
	if !slices.Contains(s.Networks["default"].Aliases, "nodes") {
		t.Errorf("Prometheus does not find %s", s.Name)
	}
	for name, front := range p.Services {
		if front.Environment["GUILDCAST_1"] == nil {
			continue
		}
		ip, network := front.Networks["default"].Ipv4Address, options["GUILDCAST_TRUSTED_PROXIES"]
		if prefix, err := netip.ParsePrefix(network); err != nil || !prefix.Contains(netip.MustParseAddr(ip)) {
			t.Errorf("%s does not believe %s: %s is not in %q", s.Name, name, ip, network)
		}
	}
}
