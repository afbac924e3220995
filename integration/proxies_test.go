//go:build integration

package integration

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/architus/guildcast/internal/test/redistest"
	"github.com/architus/guildcast/internal/test/wait"
)

// proxy is a server in front of the nodes, with the configuration in deploy.
type proxy struct {
	command  string
	nodes    int
	optional bool // there are systems without a package of it
	// args returns the arguments of the command, which finds LISTEN and the nodes' addresses in its environment.
	args func(t *testing.T, env map[string]string) []string
}

var proxies = map[string]proxy{
	"haproxy": {command: "haproxy", nodes: 3, args: func(*testing.T, map[string]string) []string {
		return []string{"-db", "-f", "../deploy/haproxy.cfg"}
	}},
	"caddy": {command: "caddy", nodes: 3, optional: true,
		args: func(*testing.T, map[string]string) []string {
			return []string{"run", "--adapter", "caddyfile", "--config", "../deploy/Caddyfile"}
		}},
	"nginx": {command: "nginx", nodes: 2, args: nginxArgs},
}

// nginxArgs writes what the official image makes of the template, but for the line that has clients stick to a node.
func nginxArgs(t *testing.T, env map[string]string) []string {
	template, err := os.ReadFile("../deploy/nginx.conf.template")
	if err != nil {
		t.Fatal(err)
	}
	const sticky = "    hash \"$http_x_forwarded_for$remote_addr\" consistent;\n"
	server := strings.Replace(string(template), sticky, "", 1)
	if server == string(template) {
		t.Fatal("the template has no line with hash")
	}
	for name, value := range env {
		server = strings.ReplaceAll(server, "${"+name+"}", value)
	}
	dir := t.TempDir()
	var paths strings.Builder
	for _, name := range []string{"client_body", "proxy", "fastcgi", "uwsgi", "scgi"} {
		fmt.Fprintf(&paths, "%s_temp_path %s;\n", name, filepath.Join(dir, name))
	}
	config := filepath.Join(dir, "nginx.conf")
	text := fmt.Sprintf("pid %s/pid;\nerror_log stderr warn;\ndaemon off;\nevents {}\nhttp {\naccess_log off;\n%s%s}\n",
		dir, &paths, server)
	if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return []string{"-c", config, "-p", dir}
}

// TestProxies has clients connect to nodes through each proxy that deploy has a configuration for: by polling, by
// WebSockets and from one to the other. Sessions do not stick to their node. All clients come back while the nodes are
// restarted one after the other; with GUILDCAST_STRICT_TIMES=1 (make chaos), none of them meets an error meanwhile. The
// limits count the client's own address, whatever the client claims.
func TestProxies(t *testing.T) {
	beside(t)
	for name, p := range proxies {
		t.Run(name, func(t *testing.T) { testProxy(t, p) })
	}
}

const (
	proxiedClients = 21
	// addressLimit is more than the clients' connections, which may all count for one address, in the middle of a
	// restart too.
	addressLimit = 3 * proxiedClients
)

func testProxy(t *testing.T, p proxy) {
	command := find(t, p)
	beside(t)
	redis := startRedis(t)
	var nodes []*node
	begin := func(addr string) *node {
		n := &node{start(t, "node "+addr, []string{
			"GUILDCAST_ADDR=" + addr, "GUILDCAST_REDIS=" + redis.url, "GUILDCAST_JWT_SECRET=" + secret,
			"GUILDCAST_TRUSTED_PROXIES=127.0.0.1/32", "GUILDCAST_DRAIN_DELAY=3s", "GUILDCAST_GRACE=2s",
			fmt.Sprint("GUILDCAST_LIMIT_ADDRESS_CONNECTIONS=", addressLimit), "GUILDCAST_LOG=json",
		}, nil, binary, "serve"), "http://" + addr}
		n.waitReady(t)
		return n
	}
	listen := fmt.Sprintf("127.0.0.1:%d", freePort(t))
	env := map[string]string{"LISTEN": listen, "NODE_SERVER": "127.0.0.1:1", "HOME": t.TempDir()}
	for i := range p.nodes {
		addr := fmt.Sprintf("127.0.0.1:%d", freePort(t))
		env[fmt.Sprint("GUILDCAST_", i+1)] = addr
		nodes = append(nodes, begin(addr))
	}
	startProxy(t, command, p, env)
	front := "http://" + listen
	wait.Until(t, "the proxy to serve", func() bool {
		code, _ := get(front + "/healthz")
		return code == http.StatusOK
	})

	spectators := startSpectators(t, front, proxiedClients, "polling,websocket;websocket;polling")
	spectators.all(t, "all clients to spectate")
	wait.Until(t, "two thirds of the sessions to be WebSockets", func() bool {
		return sum(nodes, `guildcast_connections\{transport="websocket"\}`) == proxiedClients/3*2
	})
	if passed := sum(nodes, `guildcast_forwarded_total\{outcome="answered"\}`); passed == 0 {
		t.Error("sessions stick to their node")
	}
	for i, n := range nodes {
		n.drain(t)
		nodes[i] = begin(strings.TrimPrefix(n.url, "http://"))
		spectators.all(t, "all clients to come back after a restart")
	}
	if refused := spectators.refused(); refused > 0 && strict {
		t.Errorf("clients could not connect %d times", refused)
	} else {
		t.Logf("clients could not connect %d times", refused)
	}
	if code, _ := get(front + "/metrics"); code == http.StatusOK {
		t.Error("anybody can read the metrics")
	}
	checkAddresses(t, front, addressLimit*len(nodes))
}

// find returns the path of the proxy's command.
func find(t *testing.T, p proxy) string {
	for _, path := range []string{p.command, "/usr/sbin/" + p.command} { // users' PATH lacks it on Debian
		if found, err := exec.LookPath(path); err == nil {
			return found
		}
	}
	if redistest.Required() && !p.optional {
		t.Fatalf("%s is not installed; run scripts/setup", p.command)
	}
	t.Skipf("%s is not installed", p.command)
	return ""
}

func startProxy(t *testing.T, command string, p proxy, env map[string]string) {
	t.Helper()
	var vars []string
	for name, value := range env {
		// With a scheme, Caddy gets no certificate.
		if name == "LISTEN" && p.command == "caddy" {
			value = "http://" + value
		}
		vars = append(vars, name+"="+value)
	}
	started := start(t, p.command, vars, nil, command, p.args(t, env)...)
	t.Cleanup(func() { started.stop(t, syscall.SIGTERM) })
}

// checkAddresses opens sessions from one address, each claiming another, until more than limit are open; they are
// refused from some number on, while another address is served.
func checkAddresses(t *testing.T, front string, limit int) {
	t.Helper()
	mallory, alice := clientFrom("127.0.0.2"), clientFrom("127.0.0.3")
	refused := false
	for i := 0; i <= limit && !refused; i++ {
		refused = pollFrom(t, mallory, front, fmt.Sprintf("198.51.100.%d", i%250)) == http.StatusServiceUnavailable
	}
	if !refused {
		t.Errorf("%d sessions of one address that claims others are open", limit+1)
	}
	if code := pollFrom(t, alice, front, ""); code != http.StatusOK {
		t.Errorf("another address got %d", code)
	}
}

// clientFrom returns a client whose connections come from an address of this machine.
func clientFrom(address string) *http.Client {
	dialer := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(address)}}
	return &http.Client{Transport: &http.Transport{DialContext: func(ctx context.Context, network, addr string) (
		net.Conn, error) {
		return dialer.DialContext(ctx, network, addr)
	}}, Timeout: patience}
}

// pollFrom opens a session by polling, and returns the status.
func pollFrom(t *testing.T, client *http.Client, front, claims string) int {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), "GET", front+"/socket.io/?EIO=4&transport=polling", nil)
	if err != nil {
		t.Fatal(err)
	}
	if claims != "" {
		request.Header.Set("X-Forwarded-For", claims)
	}
	response, err := client.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	response.Body.Close()
	return response.StatusCode
}
