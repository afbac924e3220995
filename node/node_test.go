package node_test

import (
	"cmp"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io"
	"log/slog"
	"math/big"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/MicahParks/jwkset"
	"github.com/golang-jwt/jwt/v5"
	goredis "github.com/redis/go-redis/v9"

	"github.com/architus/guildcast/internal/test/redistest"
	"github.com/architus/guildcast/internal/test/sioclient"
	"github.com/architus/guildcast/internal/test/wait"
	"github.com/architus/guildcast/node"
	"github.com/architus/guildcast/permissions"
	"github.com/architus/guildcast/token"
)

const (
	guild  = "607637793107345431"
	secret = "a secret of the tests that has 32 bytes"
)

// running is a node in this process.
type running struct {
	node.Info
	addr string // host:port
	stop func() error
}

// run starts a node on a free port; it is stopped, and must have stopped well, at the end of the test.
func run(t *testing.T, c node.Config) running {
	t.Helper()
	listening := make(chan node.Info, 1)
	c.Addr, c.Listening = "127.0.0.1:0", func(i node.Info) { listening <- i }
	c.Grace = cmp.Or(c.Grace, time.Second)
	if c.JWTSecrets == nil && c.JWTJWKS == "" {
		c.JWTSecrets = []token.Secret{{Key: []byte(secret)}}
	}
	n, err := node.New(c)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- n.Run(ctx) }()
	r := running{}
	select {
	case r.Info = <-listening:
	case err := <-done:
		cancel()
		t.Fatalf("run: %v", err)
	}
	_, r.addr, _ = strings.Cut(r.URL, "://")
	stopped := false
	r.stop = func() error {
		cancel()
		if stopped {
			return nil
		}
		stopped = true
		return <-done
	}
	t.Cleanup(func() {
		if err := r.stop(); err != nil {
			t.Errorf("run: %v", err)
		}
	})
	return r
}

func (r running) status(t *testing.T, path string) int {
	t.Helper()
	client := &http.Client{Timeout: time.Minute, Transport: &http.Transport{DisableKeepAlives: true}}
	response, err := client.Get(r.URL + path)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	_, _ = io.Copy(io.Discard, response.Body)
	return response.StatusCode
}

// waitReady waits for the state that /readyz tells: Redis is another process, or as good as one.
func (r running) waitReady(t *testing.T, want int) {
	t.Helper()
	wait.Until(t, fmt.Sprintf("/readyz to answer %d", want), func() bool { return r.status(t, "/readyz") == want })
}

func (r running) connect(t *testing.T, token string) *sioclient.Client {
	t.Helper()
	auth, err := json.Marshal(map[string]string{"token": token})
	if err != nil {
		t.Fatal(err)
	}
	return sioclient.Connect(t, r.addr, sioclient.Options{Auth: string(auth)})
}

func mint(t *testing.T, method jwt.SigningMethod, key any, bits int) string {
	t.Helper()
	token, err := jwt.NewWithClaims(method, jwt.MapClaims{
		"sub": "1", "exp": time.Now().Add(time.Hour).Unix(), "guilds": map[string]int{guild: bits},
	}).SignedString(key)
	if err != nil {
		t.Fatal(err)
	}
	return token
}

// One event reaches exactly those who may see it, and a drained node leaves nothing behind.
func TestNode(t *testing.T) {
	r := run(t, node.Config{})
	client := goredis.NewClient(&goredis.Options{Addr: r.Redis})
	defer client.Close()
	r.waitReady(t, 200)
	var browsers []*sioclient.Client
	for _, bits := range []int{0, int(permissions.ManageSettings)} {
		token := mint(t, jwt.SigningMethodHS256, []byte(secret), bits)
		b := r.connect(t, token)
		b.Expect("request_elevation_return")
		b.Emit("spectate", map[string]any{"guild_id": guild, "include_logs": true, "token": token})
		b.Expect("spectate_return")
		browsers = append(browsers, b)
	}
	for _, message := range []string{
		`{"kind":"member","requires":["MANAGE_SETTINGS"],"payload":{"n":1}}`, `{"kind":"nonsense","payload":{"n":2}}`,
		`{`, `{"kind":"guild","payload":{"n":3}}`,
	} {
		if err := client.Publish(t.Context(), guild, message).Err(); err != nil {
			t.Fatal(err)
		}
	}
	if got := string(browsers[1].Expect("log_pool").Arg()) + string(browsers[1].Expect("log_pool").Arg()) +
		string(browsers[0].Expect("log_pool").Arg()); got != `{"n":1}{"n":3}{"n":3}` {
		t.Errorf("heard %s", got)
	}
	if err := client.Publish(t.Context(), "guildcast:revoke", `{"sub":"1"}`).Err(); err != nil {
		t.Fatal(err)
	}
	for _, b := range browsers {
		if got := string(b.Expect("elevation_expired").Arg()); got != `{"reason":"revoked"}` {
			t.Errorf("heard %s", got)
		}
	}
	again := r.connect(t, mint(t, jwt.SigningMethodHS256, []byte(secret), 0))
	if got := string(again.Expect("request_elevation_return").Arg()); !strings.Contains(got, "token_revoked") {
		t.Errorf("a revoked user connects: %s", got)
	}
	if err := r.stop(); err != nil {
		t.Error(err)
	}
	for _, b := range browsers {
		<-b.Done()
	}
}

// An embedded Redis comes with a worker, who knows the demo guild: nobody else could answer.
func TestEmbeddedWorker(t *testing.T) {
	r := run(t, node.Config{})
	r.waitReady(t, 200)
	token := mint(t, jwt.SigningMethodHS256, []byte(secret), 0)
	b := r.connect(t, token)
	b.Expect("request_elevation_return")
	b.Emit("pool", map[string]any{"type": "guild", "ids": []string{guild}, "token": token})
	if got := string(b.Expect("pool_response").Arg()); !strings.Contains(got, `"name"`) ||
		!strings.Contains(got, `"finished":true`) {
		t.Errorf("heard %s", got)
	}
}

// Nothing is accepted before the revocations are known, and a node outlives the loss of its Redis.
func TestRedisComesLate(t *testing.T) {
	server := redistest.Start(t)
	token := mint(t, jwt.SigningMethodHS256, []byte(secret), 0)
	server.Stop()
	r := run(t, node.Config{Redis: server.URL()})
	r.waitReady(t, 503)
	b := r.connect(t, token)
	if got := string(b.Expect("request_elevation_return").Arg()); !strings.Contains(got, "revocations_unavailable") ||
		!strings.Contains(got, "503") {
		t.Errorf("a token before the revocations are known: %s", got)
	}
	server.Start()
	r.waitReady(t, 200)
	b.Emit("request_elevation", token)
	// a bare token is answered with a string
	if got := string(b.Expect("request_elevation_return").Arg()); !strings.Contains(got, `\"success\":true`) {
		t.Errorf("a token afterwards: %s", got)
	}
	server.Stop()
	r.waitReady(t, 503)
	server.Start()
	r.waitReady(t, 200)
}

// A node that may not read the revocations, or finds something else under their key, was unready without a word.
func TestRevocationsThatCantBeRead(t *testing.T) {
	server := redistest.Start(t)
	client := server.Client()
	if err := client.Set(t.Context(), "guildcast:revocations", "not a sorted set", 0).Err(); err != nil {
		t.Fatal(err)
	}
	log := &lines{}
	r := run(t, node.Config{Redis: server.URL(), Logger: slog.New(slog.NewTextHandler(log, nil))})
	wait.Until(t, "WRONGTYPE in the log", func() bool { return strings.Contains(log.String(), "WRONGTYPE") })
	r.waitReady(t, 503)
	if err := client.Del(t.Context(), "guildcast:revocations").Err(); err != nil {
		t.Fatal(err)
	}
	r.waitReady(t, 200)
	if n := strings.Count(log.String(), "revocations can't be read"); n != 1 {
		t.Errorf("logged %d times", n)
	}
}

// lines is a log that can be read while it is written.
type lines struct {
	mu   sync.Mutex
	text strings.Builder
}

func (l *lines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(p)
}

func (l *lines) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

// The room that an elevated socket joins is heard from its connection on, so that an elevation does not wait for Redis.
func TestElevatedRoomIsExpected(t *testing.T) {
	server := redistest.Start(t)
	client := server.Client()
	for mode, list := range map[node.AdapterMode]func(context.Context, string) *goredis.StringSliceCmd{
		node.AdapterClassic: client.PubSubChannels, node.AdapterSharded: client.PubSubShardChannels,
	} {
		r := run(t, node.Config{Redis: server.URL(), Adapter: mode})
		waitChannels := func(want int) {
			t.Helper()
			wait.Until(t, fmt.Sprintf("%s: %d channels of elevated rooms", mode, want), func() bool {
				return len(list(t.Context(), "*_auth#").Val()) == want
			})
		}
		b := r.connect(t, "")
		waitChannels(1)
		b.Close()
		waitChannels(0)
	}
}

func TestOriginOfAWebSocket(t *testing.T) {
	r := run(t, node.Config{Origins: []string{"https://board.example.com"}})
	for origin, allowed := range map[string]bool{
		"https://board.example.com": true, r.URL: true, "https://evil.example.com": false, "null": false,
	} {
		c, err := sioclient.Dial(r.addr, sioclient.Options{Headers: "Origin: " + origin + "\r\n"})
		if (err == nil) != allowed {
			t.Errorf("origin %s: %v", origin, err)
		}
		if err == nil {
			c.Close()
		}
	}
}

// The cookie counts only for pages that somebody has named, also if any page may connect.
func TestTokenCookie(t *testing.T) {
	token := mint(t, jwt.SigningMethodHS256, []byte(secret), 0)
	for _, c := range []struct {
		origins []string
		origin  string // of the page; "" is the node's own
		want    bool
	}{
		{nil, "", true},
		{[]string{"https://board.example.com"}, "https://board.example.com", true},
		{[]string{"https://*.example.com"}, "https://board.example.com", true},
		{[]string{"*"}, "https://board.example.com", false},
		{[]string{"*"}, "", true},
		{[]string{"*", "https://board.example.com"}, "https://board.example.com", true},
		{[]string{"*", "https://board.example.com"}, "https://evil.example.com", false},
		{[]string{"null"}, "null", false},
		{[]string{"file://"}, "file://", false},
	} {
		r := run(t, node.Config{Origins: c.origins, TokenCookie: "session"})
		client := sioclient.Connect(t, r.addr, sioclient.Options{
			Headers: "Origin: " + cmp.Or(c.origin, r.URL) + "\r\nCookie: session=" + token + "\r\n",
		})
		client.Emit("demote", map[string]string{"token": token}) // answered with an error if the socket is not elevated
		if e := client.Next(); (e.Name == "request_elevation_return") != c.want {
			t.Errorf("origins %q, page %q: %s", c.origins, c.origin, e)
		}
		if err := r.stop(); err != nil {
			t.Error(err)
		}
	}
}

// A request with huge cookies is refused before anybody looks at them.
func TestHugeCookie(t *testing.T) {
	r := run(t, node.Config{TokenCookie: "session"})
	request, err := http.NewRequestWithContext(t.Context(), http.MethodGet,
		r.URL+"/socket.io/?EIO=4&transport=polling", http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	request.Header.Set("Cookie", "session="+strings.Repeat("a", 1<<20))
	client := &http.Client{Timeout: time.Minute, Transport: &http.Transport{DisableKeepAlives: true}}
	response, err := client.Do(request)
	if err != nil {
		return // the node hung up while the cookie was being sent
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusRequestHeaderFieldsTooLarge {
		t.Errorf("status %d", response.StatusCode)
	}
}

func TestTLSAndPublicKeys(t *testing.T) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour), IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
	}
	certificate, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	jwk, err := jwkset.NewJWKFromKey(&key.PublicKey, jwkset.JWKOptions{})
	if err != nil {
		t.Fatal(err)
	}
	keys, err := json.Marshal(jwkset.JWKSMarshal{Keys: []jwkset.JWKMarshal{jwk.Marshal()}})
	if err != nil {
		t.Fatal(err)
	}
	file := func(name string, data []byte) string {
		path := filepath.Join(t.TempDir(), name)
		if err := os.WriteFile(path, data, 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	r := run(t, node.Config{
		TLSCert: file("cert", pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: certificate})),
		TLSKey:  file("key", pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})),
		JWTJWKS: file("keys", keys),
	})
	parsed, err := x509.ParseCertificate(certificate)
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AddCert(parsed)
	client := &http.Client{
		Timeout: time.Minute, Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots}},
	}
	defer client.CloseIdleConnections()
	poll := func(method, query, body string) string {
		t.Helper()
		request, err := http.NewRequest(method, r.URL+"/socket.io/?EIO=4&transport=polling"+query,
			strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		response, err := client.Do(request)
		if err != nil {
			t.Fatal(err)
		}
		defer response.Body.Close()
		data, err := io.ReadAll(response.Body)
		if err != nil {
			t.Fatal(err)
		}
		return string(data)
	}
	for ready := false; !ready; { // until the revocations are read
		response, err := client.Get(r.URL + "/readyz")
		if err != nil {
			t.Fatal(err)
		}
		response.Body.Close()
		ready = response.StatusCode == 200
	}
	var open struct{ SID string }
	if err := json.Unmarshal([]byte(poll("GET", "", "")[1:]), &open); err != nil {
		t.Fatal(err)
	}
	session := "&sid=" + open.SID
	poll("POST", session, fmt.Sprintf(`40{"token":%q}`, mint(t, jwt.SigningMethodES256, key, 0)))
	heard := ""
	for range 3 {
		if heard += poll("GET", session, ""); strings.Contains(heard, "request_elevation_return") {
			break
		}
	}
	if !strings.Contains(heard, `"success":true`) {
		t.Errorf("heard %s", heard)
	}
}
