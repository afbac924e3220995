package jwks_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"encoding/json"
	"errors"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/MicahParks/jwkset"
	"go.uber.org/goleak"

	"github.com/architus/guildcast/token"
	"github.com/architus/guildcast/token/jwks"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// issuer is a token issuer's key server.
type issuer struct {
	*httptest.Server
	requests atomic.Int64
	answer   atomic.Pointer[string] // "" answers 503
}

func newIssuer(t *testing.T, answer string) *issuer {
	i := &issuer{}
	i.answer.Store(&answer)
	i.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		i.requests.Add(1)
		if text := *i.answer.Load(); text != "" {
			_, _ = w.Write([]byte(text))
			return
		}
		w.WriteHeader(http.StatusServiceUnavailable)
	}))
	t.Cleanup(i.Close)
	return i
}

// running makes a source that reads until the test ends.
func running(t *testing.T, location string, o jwks.Options) *jwks.Source {
	t.Helper()
	o.Client = &http.Client{Transport: &http.Transport{}}
	s, err := jwks.New(location, o)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	var done sync.WaitGroup
	done.Go(func() { _ = s.Run(ctx) })
	t.Cleanup(func() { cancel(); done.Wait() })
	return s
}

// keySet marshals keys with their kids; private keys as they are, as a careless issuer might.
func keySet(t *testing.T, keys map[string]any) string {
	t.Helper()
	set := jwkset.JWKSMarshal{Keys: []jwkset.JWKMarshal{}}
	for kid, key := range keys {
		jwk, err := jwkset.NewJWKFromKey(key, jwkset.JWKOptions{
			Metadata: jwkset.JWKMetadataOptions{KID: kid}, Marshal: jwkset.JWKMarshalOptions{Private: true},
		})
		if err != nil {
			t.Fatal(err)
		}
		set.Keys = append(set.Keys, jwk.Marshal())
	}
	data, err := json.Marshal(set)
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

func ed25519Key(t *testing.T) (ed25519.PublicKey, ed25519.PrivateKey) {
	public, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return public, private
}

func count(s *jwks.Source, kid, alg string) (int, error) {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	keys, err := s.PublicKeys(ctx, kid, alg)
	return len(keys), err
}

func TestPublicKeysByKind(t *testing.T) {
	rsaKey, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	p256, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	p384, err := ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	public, private := ed25519Key(t)
	set := keySet(t, map[string]any{
		"rsa": &rsaKey.PublicKey, "p256": &p256.PublicKey, "p384": &p384.PublicKey, "ed": public, "private": private,
		"secret": []byte("shared secret"),
	})
	set = strings.Replace(set, `{"keys":[`,
		`{"keys":[{"kty":"future","kid":"x"},{"kty":"RSA","kid":"broken","n":"AQ"},7,`, 1)
	s := running(t, newIssuer(t, set).URL, jwks.Options{})
	for _, c := range []struct {
		kid, alg string
		want     int
	}{
		{"rsa", "RS256", 1}, {"p256", "ES256", 1}, {"ed", "EdDSA", 1}, {"", "RS256", 1}, {"", "ES256", 1},
		{"rsa", "ES256", 0}, {"ed", "RS256", 0}, {"p384", "ES256", 0}, {"secret", "HS256", 0}, {"", "HS256", 0},
		{"none", "RS256", 0},
	} {
		n, err := count(s, c.kid, c.alg)
		if n != c.want || (err == nil) != (c.want > 0) || errors.Is(err, token.ErrKeysUnavailable) {
			t.Errorf("%q for %s: %d keys, %v", c.kid, c.alg, n, err)
		}
	}
	keys, err := s.PublicKeys(context.Background(), "ed", "EdDSA")
	if err != nil || !public.Equal(keys[0]) {
		t.Errorf("not the issuer's key: %v", err)
	}
}

func TestRotationAndOutage(t *testing.T) {
	old, _ := ed25519Key(t)
	next, _ := ed25519Key(t)
	server := newIssuer(t, keySet(t, map[string]any{"old": old}))
	s := running(t, server.URL, jwks.Options{MinInterval: time.Nanosecond})
	if n, err := count(s, "old", "EdDSA"); n != 1 {
		t.Fatalf("the first key: %v", err)
	}
	rotated := keySet(t, map[string]any{"old": old, "next": next})
	server.answer.Store(&rotated)
	if n, err := count(s, "next", "EdDSA"); n != 1 {
		t.Errorf("a new kid did not cause a reading: %v", err)
	}
	for _, broken := range []string{"", "{", `{"keys":7}`, `{}`, strings.Repeat(" ", 2<<20)} {
		server.answer.Store(&broken)
		if _, err := count(s, "unknown", "EdDSA"); !errors.Is(err, token.ErrKeysUnavailable) {
			t.Errorf("an unknown kid while the source says %.10q: %v", broken, err)
		}
		if n, err := count(s, "old", "EdDSA"); n != 1 {
			t.Errorf("a known kid while the source says %.10q: %v", broken, err)
		}
	}
	only := keySet(t, map[string]any{"next": next})
	server.answer.Store(&only)
	if _, err := count(s, "unknown", "EdDSA"); err == nil || errors.Is(err, token.ErrKeysUnavailable) {
		t.Errorf("an unknown kid when the source is back: %v", err)
	}
	if n, _ := count(s, "old", "EdDSA"); n != 0 {
		t.Error("a key that the issuer took out of its set is still used")
	}
}

func TestSingleFlight(t *testing.T) {
	server := newIssuer(t, `{"keys":[]}`)
	s := running(t, server.URL, jwks.Options{MinInterval: time.Hour})
	var callers sync.WaitGroup
	for range 100 {
		callers.Go(func() {
			if _, err := count(s, "unknown", "EdDSA"); err == nil || errors.Is(err, token.ErrKeysUnavailable) {
				t.Errorf("an unknown kid: %v", err)
			}
		})
	}
	callers.Wait()
	if n := server.requests.Load(); n != 1 {
		t.Errorf("%d requests for 100 tokens of an unknown kid", n)
	}
}

func TestNeverLoaded(t *testing.T) {
	server := newIssuer(t, "")
	s := running(t, server.URL, jwks.Options{})
	for range 2 {
		if _, err := count(s, "a", "EdDSA"); !errors.Is(err, token.ErrKeysUnavailable) {
			t.Errorf("without any keys: %v", err)
		}
	}
	idle, err := jwks.New(server.URL, jwks.Options{}) // Run is never called
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if _, err := idle.PublicKeys(ctx, "a", "EdDSA"); !errors.Is(err, token.ErrKeysUnavailable) ||
		!errors.Is(err, context.Canceled) {
		t.Errorf("whoever gives up waiting gets %v", err)
	}
}

func TestFile(t *testing.T) {
	public, _ := ed25519Key(t)
	file := filepath.Join(t.TempDir(), "keys.json")
	write := func(text string) {
		t.Helper()
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write(keySet(t, map[string]any{"a": public}))
	s := running(t, file, jwks.Options{MinInterval: time.Nanosecond})
	if n, err := count(s, "a", "EdDSA"); n != 1 {
		t.Errorf("key of the file: %v", err)
	}
	write(keySet(t, map[string]any{"a": public, "b": public}))
	if n, err := count(s, "b", "EdDSA"); n != 1 {
		t.Errorf("key added to the file: %v", err)
	}
	if err := os.Remove(file); err != nil {
		t.Fatal(err)
	}
	if _, err := count(s, "c", "EdDSA"); !errors.Is(err, token.ErrKeysUnavailable) {
		t.Errorf("without the file: %v", err)
	}
	if n, err := count(s, "a", "EdDSA"); n != 1 {
		t.Errorf("key of the file that was: %v", err)
	}
}

func TestNewRefuses(t *testing.T) {
	noKeySet := filepath.Join(t.TempDir(), "keys.json")
	if err := os.WriteFile(noKeySet, []byte("-----BEGIN PUBLIC KEY-----"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, location := range []string{
		"", "http://", "ftp://keys", "https:///keys", "javascript:1", noKeySet, noKeySet + ".absent",
	} {
		if _, err := jwks.New(location, jwks.Options{}); err == nil {
			t.Errorf("%q was taken", location)
		}
	}
}

// TestOmittedKeysAreToldOnce: each key that is left out is named in the log, with the reason, however often it is read.
func TestOmittedKeysAreToldOnce(t *testing.T) {
	var log strings.Builder
	file := filepath.Join(t.TempDir(), "keys.json")
	write := func(text string) {
		t.Helper()
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write(`{"keys":[{"kty":"oct","kid":"shared"},{"kty":"oct","kid":"shared"}]}`)
	s, err := jwks.New(file, jwks.Options{
		MinInterval: time.Nanosecond, Logger: slog.New(slog.NewTextHandler(&log, nil)),
	})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	var done sync.WaitGroup
	done.Go(func() { _ = s.Run(ctx) })
	read := func() { _, _ = count(s, "unknown", "EdDSA") } // comes back after a reading
	read()
	write(`{"keys":[{"kty":"oct","kid":"shared"},{"kty":"EC","kid":"later"}` + strings.Repeat(`,7`, 1000) + `]}`)
	read()
	read()
	cancel()
	done.Wait()
	for text, want := range map[string]int{
		"key=shared": 1, "key=later": 1, "kty is": 1, "is left out": 21, "keys=981": 1,
	} {
		if n := strings.Count(log.String(), text); n != want {
			t.Errorf("%q is there %d times, want %d", text, n, want)
		}
	}
}
