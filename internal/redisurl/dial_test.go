package redisurl

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/alicebob/miniredis/v2"

	"github.com/architus/guildcast/bus"
	"github.com/architus/guildcast/internal/test/wait"
)

// TestHandshakesAreResumed has a Bus look often where the primary is: only its first connections make a whole TLS
// handshake.
func TestHandshakesAreResumed(t *testing.T) {
	web := httptest.NewTLSServer(nil) // for its certificate
	defer web.Close()
	whole, resumed := make(chan struct{}, 1000), make(chan struct{}, 1000)
	server := miniredis.NewMiniRedis()
	if err := server.StartTLS(&tls.Config{
		Certificates: web.TLS.Certificates,
		VerifyConnection: func(s tls.ConnectionState) error {
			if s.DidResume {
				resumed <- struct{}{}
			} else {
				whole <- struct{}{}
			}
			return nil
		},
	}); err != nil {
		t.Fatal(err)
	}
	defer server.Close()
	c, err := Connect("rediss://" + server.Addr())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	roots := x509.NewCertPool()
	roots.AddCert(web.Certificate())
	c.dialer.tls.RootCAs = roots
	b := bus.New(c.Client, bus.Options{CheckInterval: 10 * time.Millisecond})
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	defer b.Close(ctx)
	if _, err := b.Subscribe(ctx, bus.HandlerFunc(func(bus.Message) {}), bus.Channel, "news"); err != nil {
		t.Fatal(err)
	}
	wait.Until(t, "20 handshakes to be resumed", func() bool { return len(resumed) >= 20 })
	if n := len(whole); n > 5 { // those that were made at the same time
		t.Errorf("%d whole handshakes", n)
	}
}
