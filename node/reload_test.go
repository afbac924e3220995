package node

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"math/big"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/MicahParks/jwkset"
	"github.com/golang-jwt/jwt/v5"

	"github.com/architus/guildcast/internal/test/lifecycle"
	"github.com/architus/guildcast/internal/test/wait"
	"github.com/architus/guildcast/token"
)

// issuer is a key with what it is published as and signs.
type issuer struct{ certificate, key, keySet, token string }

func newIssuer(t *testing.T, serial int64) issuer {
	t.Helper()
	must := func(data []byte, err error) []byte {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return data
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(serial), NotAfter: time.Now().Add(time.Hour)}
	certificate := must(x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key))
	jwk, err := jwkset.NewJWKFromKey(&key.PublicKey, jwkset.JWKOptions{})
	if err != nil {
		t.Fatal(err)
	}
	signed, err := jwt.NewWithClaims(jwt.SigningMethodES256, jwt.MapClaims{
		"sub": "1", "exp": time.Now().Add(time.Hour).Unix(),
	}).SignedString(key)
	if err != nil {
		t.Fatal(err)
	}
	return issuer{
		certificate: string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: certificate})),
		key: string(pem.EncodeToMemory(&pem.Block{
			Type: "PRIVATE KEY", Bytes: must(x509.MarshalPKCS8PrivateKey(key)),
		})),
		keySet: string(must(json.Marshal(jwkset.JWKSMarshal{Keys: []jwkset.JWKMarshal{jwk.Marshal()}}))),
		token:  signed,
	}
}

func (n *Node) verifies(t *testing.T, signed string) bool {
	t.Helper()
	_, err := n.verifier.current.Load().Verify(t.Context(), signed)
	return err == nil
}

// TestReloadFiles replaces a certificate and a key set, and then one of them by nonsense.
func TestReloadFiles(t *testing.T) {
	dir := t.TempDir()
	in := func(name string) string { return filepath.Join(dir, name) }
	write := func(name, text string) {
		t.Helper()
		if err := os.WriteFile(in(name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	first, second := newIssuer(t, 1), newIssuer(t, 2)
	put := func(i issuer) {
		write("cert", i.certificate)
		write("key", i.key)
		write("keys", i.keySet)
	}
	put(first)
	n, err := New(Config{Addr: "127.0.0.1:0", TLSCert: in("cert"), TLSKey: in("key"), JWTJWKS: in("keys")})
	if err != nil {
		t.Fatal(err)
	}
	defer n.discard()
	wantState := func(serial int64, good, bad string) {
		t.Helper()
		c, err := n.tlsConfig().GetCertificate(nil)
		if err != nil || c.Leaf.SerialNumber.Int64() != serial {
			t.Errorf("certificate %v, %v; want number %d", c, err, serial)
		}
		if !n.verifies(t, good) || n.verifies(t, bad) {
			t.Error("tokens are verified with the wrong key set")
		}
	}
	wantState(1, first.token, second.token)
	put(second)
	if restart, err := n.Reload(t.Context()); err != nil || len(restart) > 0 {
		t.Fatalf("%v, %v", restart, err)
	}
	wantState(2, second.token, first.token)
	put(first)
	write("keys", "nonsense")
	var wrong *OptionError
	if _, err := n.Reload(t.Context()); !errors.As(err, &wrong) || wrong.Option != "jwt-jwks" {
		t.Errorf("a wrong key set: %v", err)
	}
	wantState(2, second.token, first.token)
	write("keys", first.keySet)
	write("key", second.key) // of another certificate
	if _, err := n.Reload(t.Context()); !errors.As(err, &wrong) || wrong.Option != "tls-cert" {
		t.Errorf("a wrong key: %v", err)
	}
	wantState(2, second.token, first.token)
}

// TestReloadKeySet replaces what a URL serves, and then the URL.
func TestReloadKeySet(t *testing.T) {
	first, second := newIssuer(t, 1), newIssuer(t, 2)
	var served atomic.Pointer[issuer]
	var readings atomic.Int32
	served.Store(&first)
	serve := func(w http.ResponseWriter, _ *http.Request) {
		_, _ = w.Write([]byte(served.Load().keySet))
		readings.Add(1)
	}
	server := httptest.NewServer(http.HandlerFunc(serve))
	defer server.Close()
	other := httptest.NewServer(http.NotFoundHandler())
	defer other.Close()
	c := Config{Addr: "127.0.0.1:0", JWTJWKS: server.URL}
	url := server.URL
	c.Load = func() (Config, []string, error) {
		next := c
		next.JWTJWKS = url
		return next, nil, nil
	}
	n, err := New(c)
	if err != nil {
		t.Fatal(err)
	}
	defer n.discard()
	lifecycle.Start(t, n.runKeys)
	wait.Until(t, "the first reading", func() bool { return readings.Load() == 1 && n.verifies(t, first.token) })

	served.Store(&second) // it is read again at once, without a token that asks for it
	if _, err := n.Reload(t.Context()); err != nil {
		t.Fatal(err)
	}
	wait.Until(t, "the second reading", func() bool { return readings.Load() == 2 })
	wait.Until(t, "the new key", func() bool { return n.verifies(t, second.token) })

	url = other.URL
	if _, err := n.Reload(t.Context()); err == nil || !strings.Contains(err.Error(), "404") {
		t.Errorf("a URL without a key set: %v", err)
	}
	if !n.verifies(t, second.token) {
		t.Error("the key is gone after a reload that failed")
	}
	moved := httptest.NewServer(http.HandlerFunc(serve))
	defer moved.Close()
	served.Store(&first)
	url = moved.URL
	if _, err := n.Reload(t.Context()); err != nil {
		t.Fatal(err)
	}
	if !n.verifies(t, first.token) || n.verifies(t, second.token) {
		t.Error("the key set of the other URL is not in use")
	}
}

// TestReloadNeedsARestart turns TLS on, which the listener can't.
func TestReloadNeedsARestart(t *testing.T) {
	i := newIssuer(t, 1)
	dir := t.TempDir()
	cert, key := filepath.Join(dir, "cert"), filepath.Join(dir, "key")
	for name, text := range map[string]string{cert: i.certificate, key: i.key} {
		if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	c := Config{Addr: "127.0.0.1:0", JWTSecrets: []token.Secret{{Key: []byte("secret")}}}
	c.Load = func() (Config, []string, error) {
		next := c
		next.TLSCert, next.TLSKey = cert, key
		return next, []string{"grace"}, nil
	}
	n, err := New(c)
	if err != nil {
		t.Fatal(err)
	}
	defer n.discard()
	if restart, err := n.Reload(t.Context()); err != nil || !slices.Equal(restart, []string{"grace", "tls-cert"}) {
		t.Errorf("%v, %v", restart, err)
	}
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	n.reloading <- struct{}{} // somebody else reloads
	if _, err := n.Reload(ended); !errors.Is(err, context.Canceled) {
		t.Errorf("a caller that has gone: %v", err)
	}
	<-n.reloading
}

func TestAdminRoutes(t *testing.T) {
	n, err := New(Config{
		Addr: "127.0.0.1:0", AdminAddr: "127.0.0.1:0", JWTSecrets: []token.Secret{{Key: []byte("secret")}},
	})
	if err != nil {
		t.Fatal(err)
	}
	defer n.discard()
	admin := n.adminRoutes()
	for request, want := range map[string]int{
		"GET /healthz": 200, "GET /readyz": 503, "GET /metrics": 200, "GET /config": 404, "GET /reload": 405,
		"POST /reload": 200, "GET /explain": 400, "GET /debug/pprof/": 200, "GET /debug/pprof/heap?debug=1": 200,
		"GET /debug/pprof/cmdline": 404, "GET /": 404,
	} {
		method, path, _ := strings.Cut(request, " ")
		w := httptest.NewRecorder()
		admin.ServeHTTP(w, httptest.NewRequest(method, path, nil))
		if w.Code != want {
			t.Errorf("%s: %d, want %d: %s", request, w.Code, want, w.Body)
		}
	}
	for path, want := range map[string]int{"/healthz": 200, "/metrics": 404, "/debug/pprof/": 404, "/config": 404} {
		w := httptest.NewRecorder()
		n.handler.ServeHTTP(w, httptest.NewRequest(http.MethodGet, path, nil))
		if w.Code != want {
			t.Errorf("%s for clients: %d, want %d", path, w.Code, want)
		}
	}
	if _, err := New(Config{AdminAddr: "nonsense"}); err == nil || !strings.Contains(err.Error(), "address") {
		t.Errorf("a wrong address: %v", err)
	}
}
