package main

import (
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"os/exec"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/architus/guildcast/internal/proxyproto"
)

func TestHealth(t *testing.T) {
	var status atomic.Int64
	status.Store(http.StatusOK)
	mux := http.NewServeMux()
	mux.HandleFunc("/healthz", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprintln(w, "ok") })
	mux.HandleFunc("/readyz", func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(int(status.Load()))
		fmt.Fprintln(w, "what readyz says")
	})
	mux.Handle("/moved", http.RedirectHandler("/healthz", http.StatusFound))
	for _, secure := range []bool{false, true} {
		server := httptest.NewUnstartedServer(mux)
		env := []string{}
		if secure {
			server.StartTLS()
			env = append(env, "GUILDCAST_TLS_CERT=some.pem")
		} else {
			server.Start()
		}
		defer server.Close()
		address := server.Listener.Addr().String()
		env = append(env, "GUILDCAST_ADDR="+address)
		status.Store(http.StatusOK)
		for _, args := range [][]string{nil, {"--ready"}} {
			if o := execute(t, env, append([]string{"health"}, args...)...); o.code != 0 || o.out == "" {
				t.Errorf("%v of a node that serves: %+v", args, o)
			}
		}
		status.Store(http.StatusServiceUnavailable)
		o := execute(t, env, "health", "--ready")
		if o.code != 1 || !strings.Contains(o.err, "503") || !strings.Contains(o.err, "what readyz says") {
			t.Errorf("a node that is not ready: %+v", o)
		}
		if secure { // a certificate that nobody vouches for
			if o := execute(t, env, "health", "--url", server.URL+"/healthz"); o.code != 1 {
				t.Errorf("--url: %+v", o)
			}
			continue
		}
		for path, code := range map[string]int{"/healthz": 0, "/moved": 1, "/nothing": 1} {
			if o := execute(t, env, "health", "--url", server.URL+path); o.code != code {
				t.Errorf("%s: %+v, want %d", path, o, code)
			}
		}
		server.Close()
		if o := execute(t, env, "health"); o.code != 1 || !strings.Contains(o.err, "refused") {
			t.Errorf("nobody there: %+v", o)
		}
	}
	for want, args := range map[string]string{
		"exclude": "--url http://x/ --ready", "--addr": "--addr nonsense", "--timeout": "--timeout 0s",
		"--url": "--url %",
	} {
		if o := execute(t, nil, append([]string{"health"}, strings.Fields(args)...)...); o.code != 2 ||
			!strings.Contains(o.err, want) {
			t.Errorf("%s: %+v", args, o)
		}
	}
}

func TestHealthURL(t *testing.T) {
	for addr, want := range map[string]string{
		":8080": "http://localhost:8080/healthz", "0.0.0.0:1": "http://localhost:1/healthz",
		"[::]:2": "http://localhost:2/healthz", "192.0.2.1:3": "http://192.0.2.1:3/healthz",
		"[2001:db8::1]:4": "http://[2001:db8::1]:4/healthz", "node:http": "http://node:http/healthz",
	} {
		if got, err := (&health{Addr: addr}).url(); err != nil || got != want {
			t.Errorf("%s: %s, %v; want %s", addr, got, err, want)
		}
	}
}

// TestHealthcheckOfTheImage runs what the Dockerfile gives to Docker, as it is written there.
func TestHealthcheckOfTheImage(t *testing.T) {
	data, err := os.ReadFile("../../Dockerfile")
	if err != nil {
		t.Fatal(err)
	}
	_, rest, ok := strings.Cut(string(data), "HEALTHCHECK ")
	_, command, ok2 := strings.Cut(rest, `CMD ["/guildcast", `)
	list, _, ok3 := strings.Cut(command, "]")
	if !ok || !ok2 || !ok3 {
		t.Fatal("the image has no health check")
	}
	args := strings.Fields(strings.NewReplacer(`"`, "", ",", " ").Replace(list))
	p := start(t, []string{"GUILDCAST_ADDR=127.0.0.1:0", "GUILDCAST_DEMO=true"})
	url := p.line(t, `open (http://\S+)`)
	check := func(addr string) error {
		cmd := exec.CommandContext(t.Context(), os.Args[0], args...)
		cmd.Env = []string{asCommand + "=1", "GUILDCAST_ADDR=" + addr}
		return cmd.Run()
	}
	addr := strings.TrimSuffix(strings.TrimPrefix(url, "http://"), "/")
	if err := check(addr); err != nil {
		t.Errorf("of a node that serves at %s: %v", addr, err)
	}
	if err := check("127.0.0.1:1"); err == nil {
		t.Error("healthy, and nobody is there")
	}
}

// TestHealthBehindProxies asks a node that takes this machine for a proxy.
func TestHealthBehindProxies(t *testing.T) {
	below, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	proxies := []netip.Prefix{netip.MustParsePrefix("127.0.0.1/32")}
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprintln(w, "ok")
	}))
	_ = server.Listener.Close()
	server.Listener = proxyproto.NewListener(below, proxyproto.Options{Trusted: proxies})
	server.Start()
	defer server.Close()
	env := []string{"GUILDCAST_ADDR=" + below.Addr().String(), "GUILDCAST_TRUSTED_PROXIES=127.0.0.1"}
	if o := execute(t, env, "health"); o.code != 1 {
		t.Errorf("without a header: %+v", o)
	}
	if o := execute(t, append(env, "GUILDCAST_PROXY_PROTOCOL=true"), "health"); o.code != 0 {
		t.Errorf("with a header: %+v", o)
	}
	if o := execute(t, nil, "health", "--proxy-protocol", "--trusted-proxies", "nonsense"); o.code != 2 {
		t.Errorf("nonsense: %+v", o)
	}
}
