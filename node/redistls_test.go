package node_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/architus/guildcast/internal/test/redistest"
	"github.com/architus/guildcast/node"
)

// authority signs certificates.
type authority struct {
	certificate *x509.Certificate
	key         *ecdsa.PrivateKey
}

func newAuthority(t *testing.T, name string) *authority {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(time.Now().UnixNano()), Subject: pkix.Name{CommonName: name},
		NotBefore: time.Now().Add(-48 * time.Hour), NotAfter: time.Now().Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	if template, err = x509.ParseCertificate(der); err != nil {
		t.Fatal(err)
	}
	return &authority{template, key}
}

// pem writes the authority's certificate into a file.
func (a *authority) pem(t *testing.T, file string) {
	t.Helper()
	writePEM(t, file, "CERTIFICATE", a.certificate.Raw)
}

// issue writes a certificate of 127.0.0.1 that ends at some time, and its key, into two files.
func (a *authority) issue(t *testing.T, cert, key string, ends time.Time) {
	t.Helper()
	own, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(time.Now().UnixNano()), Subject: pkix.Name{CommonName: "127.0.0.1"},
		NotBefore: time.Now().Add(-24 * time.Hour), NotAfter: ends, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth, x509.ExtKeyUsageServerAuth},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, a.certificate, &own.PublicKey, a.key)
	if err != nil {
		t.Fatal(err)
	}
	private, err := x509.MarshalPKCS8PrivateKey(own)
	if err != nil {
		t.Fatal(err)
	}
	writePEM(t, cert, "CERTIFICATE", der)
	writePEM(t, key, "PRIVATE KEY", private)
}

func writePEM(t *testing.T, file, kind string, der []byte) {
	t.Helper()
	if err := os.WriteFile(file, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), 0o600); err != nil {
		t.Fatal(err)
	}
}

// encrypted is a Redis with certificates of an own authority, and the node's, each in files.
type encrypted struct {
	*redistest.Server
	authority                                                     *authority
	ca, serverCert, serverKey, nodeCA, clientCert, clientKey, url string
}

func startEncrypted(t *testing.T) *encrypted {
	t.Helper()
	dir := t.TempDir()
	file := func(name string) string { return filepath.Join(dir, name) }
	e := &encrypted{
		authority: newAuthority(t, "first"), ca: file("ca"), serverCert: file("server"), serverKey: file("server-key"),
		nodeCA: file("node-ca"), clientCert: file("client"), clientKey: file("client-key"),
	}
	good := time.Now().Add(time.Hour)
	e.authority.pem(t, e.ca)
	e.authority.pem(t, e.nodeCA)
	e.authority.issue(t, e.serverCert, e.serverKey, good)
	e.authority.issue(t, e.clientCert, e.clientKey, good)
	var addr string
	e.Server, addr = redistest.StartTLS(t, e.ca, e.serverCert, e.serverKey)
	e.url = "rediss://" + addr + "/0?ca=" + e.nodeCA + "&cert=" + e.clientCert + "&key=" + e.clientKey
	return e
}

// renew has Redis read its files again, and ends the node's connections.
func (e *encrypted) renew(t *testing.T, p *patient) {
	t.Helper()
	do(t, p.publisher, "config", "set", "tls-cert-file", e.serverCert, "tls-key-file", e.serverKey,
		"tls-ca-cert-file", e.ca)
	do(t, p.publisher, "client", "kill", "type", "pubsub")
	do(t, p.publisher, "client", "kill", "type", "normal")
}

// The certificate of Redis expires, and is replaced.
func TestRedisCertificateExpires(t *testing.T) {
	t.Parallel()
	e := startEncrypted(t)
	p := admit(t, e.url, e.Client(), node.Config{})
	e.authority.issue(t, e.serverCert, e.serverKey, time.Now().Add(-time.Hour))
	e.renew(t, p)
	p.lost(t, "certificate has expired")
	e.authority.issue(t, e.serverCert, e.serverKey, time.Now().Add(time.Hour))
	e.renew(t, p)
	p.well(t)
}

// The certificate of the node expires, and its file is replaced.
func TestRedisClientCertificateExpires(t *testing.T) {
	t.Parallel()
	e := startEncrypted(t)
	p := admit(t, e.url, e.Client(), node.Config{})
	e.authority.issue(t, e.clientCert, e.clientKey, time.Now().Add(-time.Hour))
	e.renew(t, p)
	p.lost(t, "tls: expired certificate")
	e.authority.issue(t, e.clientCert, e.clientKey, time.Now().Add(time.Hour))
	p.well(t)
}

// Another authority signs all certificates.
func TestRedisAuthorityChanges(t *testing.T) {
	t.Parallel()
	e := startEncrypted(t)
	p := admit(t, e.url, e.Client(), node.Config{})
	e.authority = newAuthority(t, "second")
	e.authority.pem(t, e.ca)
	e.authority.issue(t, e.serverCert, e.serverKey, time.Now().Add(time.Hour))
	e.renew(t, p)
	p.lost(t, "certificate signed by unknown authority")
	e.authority.pem(t, e.nodeCA)
	e.authority.issue(t, e.clientCert, e.clientKey, time.Now().Add(time.Hour))
	p.well(t)
}
