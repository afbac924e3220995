package forward

import (
	"crypto/hkdf"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// header carries the signature of a request that is passed on, and in the answer whether it was taken. In a request:
//
//	v1 <Unix ms> <nonce> <address of the client> <signature>[,<signature>...]
//
// A signature is an HMAC-SHA256 over the version, the owner's id, the time, the nonce, the method, path and query, and
// the address, a line each. There is one for each secret that the sender has, so that secrets can be rotated.
const (
	header      = "Guildcast-Forward"
	markServed  = "served"
	markRefused = "refused"
	version     = "v1"
)

const (
	// window is how old a signature may be, or how far ahead.
	window = 10 * time.Second
	// maxKeys bounds the signatures of one request.
	maxKeys = 8
)

// Errors of verify.
var (
	errUnsigned  = errors.New("there is no signature")
	errSignature = errors.New("the signature is wrong")
	errStale     = errors.New("the signature is too old, or ahead of its time")
	errReplayed  = errors.New("the signature has been used")
)

// signer signs what is passed on to others, and verifies what is passed on to the node itself.
type signer struct {
	id    string // the node's
	clock *clock
	keys  atomic.Pointer[[][]byte]
	used  nonces
}

func newSigner(id string, c *clock) *signer { return &signer{id: id, clock: c} }

func (s *signer) setSecrets(secrets [][]byte) {
	keys := make([][]byte, 0, len(secrets))
	for _, secret := range secrets[:min(len(secrets), maxKeys)] {
		// It fails for a length only that SHA-256 can't give.
		k, err := hkdf.Key(sha256.New, secret, nil, "guildcast forward "+version, sha256.Size)
		if err == nil {
			keys = append(keys, k)
		}
	}
	s.keys.Store(&keys)
}

// sign returns the header for a request to a node; "" if the time is not known.
func (s *signer) sign(owner, method, uri, address string) string {
	now, ok := s.clock.now()
	if !ok {
		return ""
	}
	var b [16]byte
	_, _ = rand.Read(b[:]) // never fails
	at, nonce := strconv.FormatInt(now.UnixMilli(), 10), base64.RawURLEncoding.EncodeToString(b[:])
	if address == "" || strings.ContainsAny(address, " \n") {
		address = "-"
	}
	var signatures []string
	for _, k := range *s.keys.Load() {
		sum := digest(k, owner, at, nonce, method, uri, address)
		signatures = append(signatures, base64.RawURLEncoding.EncodeToString(sum))
	}
	return strings.Join([]string{version, at, nonce, address, strings.Join(signatures, ",")}, " ")
}

func digest(key []byte, fields ...string) []byte {
	mac := hmac.New(sha256.New, key)
	mac.Write([]byte(version))
	for _, field := range fields {
		mac.Write([]byte{'\n'})
		mac.Write([]byte(field))
	}
	return mac.Sum(nil)
}

// verify returns the client's address of a request that another node has passed on.
func (s *signer) verify(method, uri string, h http.Header) (address string, err error) {
	values := h[header]
	if len(values) != 1 {
		return "", errUnsigned
	}
	fields := strings.Split(values[0], " ")
	if len(fields) != 5 || fields[0] != version || len(fields[2]) != base64.RawURLEncoding.EncodedLen(16) {
		return "", errUnsigned
	}
	at, nonce, address := fields[1], fields[2], fields[3]
	if !s.signed(strings.Split(fields[4], ","), at, nonce, method, uri, address) {
		return "", errSignature
	}
	now, ok := s.clock.now()
	ms, err := strconv.ParseInt(at, 10, 64)
	if err != nil || !ok || now.Sub(time.UnixMilli(ms)).Abs() > window {
		return "", errStale
	}
	if !s.used.add(nonce, now) {
		return "", errReplayed
	}
	return address, nil
}

// signed reports whether one of the signatures is that of one of the keys.
func (s *signer) signed(signatures []string, fields ...string) bool {
	if len(signatures) > maxKeys {
		return false
	}
	good := false
	for _, k := range *s.keys.Load() {
		want := digest(k, append([]string{s.id}, fields...)...)
		for _, text := range signatures {
			if sum, err := base64.RawURLEncoding.DecodeString(text); err == nil && hmac.Equal(sum, want) {
				good = true
			}
		}
	}
	return good
}

// nonces remembers those of good signatures for as long as their times are good.
type nonces struct {
	mu          sync.Mutex
	since       time.Time           // when recent was begun
	recent, old map[string]struct{} // each of twice the window
}

// add reports whether a nonce is new.
func (n *nonces) add(nonce string, now time.Time) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	if now.Sub(n.since) > 2*window {
		if now.Sub(n.since) > 4*window {
			n.recent = nil // long ago
		}
		n.old, n.recent, n.since = n.recent, map[string]struct{}{}, now
	}
	_, again := n.recent[nonce]
	if !again {
		_, again = n.old[nonce]
	}
	n.recent[nonce] = struct{}{}
	return !again
}

// clock is Redis's, which all nodes share: that of a machine may be wrong by hours, or jump.
type clock struct {
	last atomic.Pointer[reading]
}

// reading is a time of Redis, and the node's at which it was read.
type reading struct{ redis, own time.Time }

func (c *clock) set(t time.Time) { c.last.Store(&reading{t, time.Now()}) }

// now returns the time of Redis, and false if it is not known. What has passed since it was read is measured by the
// monotonic clock.
func (c *clock) now() (time.Time, bool) {
	r := c.last.Load()
	if r == nil {
		return time.Time{}, false
	}
	return r.redis.Add(time.Since(r.own)), true
}
