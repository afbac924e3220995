package forward

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"fmt"
	"math/big"
	"time"
)

// serverName is what a node asks for that wants to pass something on.
const serverName = "forward.guildcast.internal"

// identity is the certificate with which a node that serves HTTPS serves other nodes. Its own is for the name that
// browsers know, not for the address that nodes use, and may be replaced while it runs. Other nodes trust this one
// since Redis says so.
type identity struct {
	certificate tls.Certificate
	pin         string
}

func newIdentity() (*identity, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("make a certificate for other nodes: %w", err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), DNSNames: []string{serverName},
		NotBefore: time.Unix(0, 0), NotAfter: time.Date(9999, 12, 31, 0, 0, 0, 0, time.UTC), // as long as the process
	}
	raw, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		return nil, fmt.Errorf("make a certificate for other nodes: %w", err)
	}
	return &identity{tls.Certificate{Certificate: [][]byte{raw}, PrivateKey: key}, pinOf(raw)}, nil
}

func pinOf(certificate []byte) string {
	sum := sha256.Sum256(certificate)
	return base64.RawURLEncoding.EncodeToString(sum[:])
}

// TLS returns a configuration that serves clients as c does, and other nodes with the node's own certificate.
func (f *Forwarder) TLS(c *tls.Config) *tls.Config {
	if f.identity == nil {
		return c
	}
	own := &tls.Config{
		Certificates: []tls.Certificate{f.identity.certificate}, MinVersion: tls.VersionTLS13,
		NextProtos: []string{"http/1.1"},
	}
	both := c.Clone()
	both.GetConfigForClient = func(hello *tls.ClientHelloInfo) (*tls.Config, error) {
		if hello.ServerName == serverName {
			return own, nil
		}
		if c.GetConfigForClient != nil {
			return c.GetConfigForClient(hello)
		}
		return nil, nil
	}
	return both
}
