package node_test

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/architus/guildcast/handlers"
	"github.com/architus/guildcast/internal/test/redistest"
	"github.com/architus/guildcast/node"
)

// passedOn is an HTTP client of a proxy that passes the connections of one client on.
func passedOn(t *testing.T, header string) *http.Client {
	t.Helper()
	client := &http.Client{Timeout: time.Minute, Transport: &http.Transport{
		DisableKeepAlives: true, TLSClientConfig: &tls.Config{InsecureSkipVerify: true},
		DialContext: func(ctx context.Context, network, addr string) (net.Conn, error) {
			c, err := new(net.Dialer).DialContext(ctx, network, addr)
			if err == nil {
				_, err = io.WriteString(c, header)
			}
			return c, err
		},
	}}
	t.Cleanup(client.CloseIdleConnections)
	return client
}

const (
	firstClient  = "PROXY TCP4 203.0.113.7 192.0.2.1 51331 443\r\n"
	secondClient = "PROXY TCP4 203.0.113.8 192.0.2.1 51331 443\r\n"
)

// behindProxies is a node's configuration whose proxies are on this machine.
func behindProxies() node.Config {
	return node.Config{
		ProxyProtocol: true, TrustedProxies: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")},
		AdminAddr: "127.0.0.1:0",
	}
}

// The limits count the clients' addresses, with TLS and without.
func TestProxyProtocol(t *testing.T) {
	dir := t.TempDir()
	cert, key := filepath.Join(dir, "cert"), filepath.Join(dir, "key")
	newAuthority(t, "own").issue(t, cert, key, time.Now().Add(time.Hour))
	for name, secure := range map[string]bool{"plain": false, "TLS": true} {
		t.Run(name, func(t *testing.T) {
			c := behindProxies()
			c.Limits = handlers.Limits{AddressConnections: 1}
			if secure {
				c.TLSCert, c.TLSKey = cert, key
			}
			r := run(t, c)
			for _, step := range []struct {
				header string
				want   int
			}{
				{firstClient, http.StatusOK}, {firstClient, http.StatusServiceUnavailable},
				{secondClient, http.StatusOK},
			} {
				response, err := passedOn(t, step.header).Get(r.URL + "/socket.io" + handshake)
				if err != nil {
					t.Fatal(err)
				}
				_ = response.Body.Close()
				if response.StatusCode != step.want {
					t.Errorf("%q: %d, want %d", step.header, response.StatusCode, step.want)
				}
			}
			if response, err := passedOn(t, "").Get(r.URL + "/healthz"); err == nil {
				_ = response.Body.Close()
				t.Errorf("without a header: %d", response.StatusCode)
			}
		})
	}
}

// Nodes pass requests on to each other though their network is that of the proxies.
func TestProxyProtocolBetweenNodes(t *testing.T) {
	server := redistest.Start(t)
	var urls []string
	for range 2 {
		c := behindProxies()
		c.Redis = server.URL()
		urls = append(urls, run(t, c).URL)
	}
	client := passedOn(t, firstClient)
	get := func(url string) string {
		t.Helper()
		response, err := client.Get(url)
		if err != nil {
			t.Fatal(err)
		}
		defer response.Body.Close()
		text, err := io.ReadAll(response.Body)
		if err != nil || response.StatusCode != http.StatusOK {
			t.Fatalf("%d, %s, %v", response.StatusCode, text, err)
		}
		return string(text)
	}
	var open struct{ SID string }
	if err := json.Unmarshal([]byte(get(urls[0] + "/socket.io" + handshake)[1:]), &open); err != nil {
		t.Fatal(err)
	}
	there := urls[1] + "/socket.io" + handshake + "&sid=" + open.SID
	response, err := client.Post(there, "text/plain", strings.NewReader("40"))
	if err != nil {
		t.Fatal(err)
	}
	_ = response.Body.Close()
	if text := get(there); !strings.HasPrefix(text, "40{") {
		t.Errorf("got %s", text)
	}
}

// HAProxy writes both versions. Clients come from other addresses of this machine.
func TestBehindHAProxy(t *testing.T) {
	bin, err := exec.LookPath("haproxy")
	if err != nil {
		if redistest.Required() {
			t.Fatal("haproxy is not installed: run scripts/setup")
		}
		t.Skip("haproxy is not installed")
	}
	for _, version := range []string{"send-proxy", "send-proxy-v2"} {
		t.Run(version, func(t *testing.T) {
			c := behindProxies()
			c.TrustedProxies = []netip.Prefix{netip.MustParsePrefix("127.0.0.1/32")}
			c.Limits = handlers.Limits{AddressConnections: 1}
			r := run(t, c)
			front, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			defer front.Close()
			file, err := front.(*net.TCPListener).File() // haproxy listens on the same socket
			if err != nil {
				t.Fatal(err)
			}
			defer file.Close()
			config := filepath.Join(t.TempDir(), "haproxy.cfg")
			if err := os.WriteFile(config, []byte("defaults\n timeout connect 1m\n timeout client 1m\n timeout server 1m\n"+
				"listen node\n mode tcp\n bind fd@3\n server node "+r.addr+" "+version+"\n"), 0o600); err != nil {
				t.Fatal(err)
			}
			proxy := exec.Command(bin, "-db", "-f", config)
			proxy.ExtraFiles = []*os.File{file}
			if err := proxy.Start(); err != nil {
				t.Fatal(err)
			}
			defer func() { _ = proxy.Process.Kill(); _ = proxy.Wait() }()
			for _, step := range []struct {
				from string
				want int
			}{
				{"127.0.0.2", http.StatusOK}, {"127.0.0.2", http.StatusServiceUnavailable},
				{"127.0.0.3", http.StatusOK},
			} {
				dialer := &net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(step.from)}}
				client := &http.Client{Timeout: time.Minute, Transport: &http.Transport{
					DialContext: dialer.DialContext, DisableKeepAlives: true,
				}}
				response, err := client.Get("http://" + front.Addr().String() + "/socket.io" + handshake)
				if err != nil {
					t.Fatal(err)
				}
				_ = response.Body.Close()
				if response.StatusCode != step.want {
					t.Errorf("from %s: %d, want %d", step.from, response.StatusCode, step.want)
				}
			}
		})
	}
}

func TestProxyProtocolNeedsProxies(t *testing.T) {
	if _, err := node.New(node.Config{ProxyProtocol: true}); err == nil ||
		!strings.Contains(err.Error(), "--trusted-proxies") {
		t.Errorf("got %v", err)
	}
}
