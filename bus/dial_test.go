package bus_test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/alicebob/miniredis/v2"
	"github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/auth"

	"github.com/architus/guildcast/bus"
	"github.com/architus/guildcast/internal/test/wait"
)

// provider gives credentials as a cloud's identity service does.
type provider struct{ stopped atomic.Int32 }

func (p *provider) Subscribe(auth.CredentialsListener) (auth.Credentials, auth.UnsubscribeFunc, error) {
	return auth.NewBasicCredentials("user", "secret"), func() error { p.stopped.Add(1); return nil }, nil
}

// TestDial uses the settings of the client: TLS, and credentials in each of their forms.
func TestDial(t *testing.T) {
	web := httptest.NewTLSServer(nil) // for its certificate
	defer web.Close()
	roots := x509.NewCertPool()
	roots.AddCert(web.Certificate())
	server := miniredis.NewMiniRedis()
	must(t, server.StartTLS(&tls.Config{Certificates: web.TLS.Certificates}))
	defer server.Close()
	server.RequireUserAuth("user", "secret")

	streaming := &provider{}
	for name, o := range map[string]*redis.Options{
		"password": {Username: "user", Password: "secret"},
		"provider": {CredentialsProvider: func() (string, string) { return "user", "secret" }},
		"context": {CredentialsProviderContext: func(context.Context) (string, string, error) {
			return "user", "secret", nil
		}},
		"streaming": {StreamingCredentialsProvider: streaming},
	} {
		t.Run(name, func(t *testing.T) {
			o.Addr, o.TLSConfig = server.Addr(), &tls.Config{RootCAs: roots}
			client := redis.NewClient(o)
			defer client.Close()
			b := bus.New(client, bus.Options{})
			in := newInbox()
			_, err := b.Subscribe(within(t), in, bus.Channel, "x")
			must(t, err)
			must(t, b.Publish(bus.Channel, "x", []byte("1")))
			in.waitN(t, 1)
			must(t, b.Close(within(t)))
		})
	}
	if streaming.stopped.Load() == 0 {
		t.Error("the provider of credentials was not let go")
	}
}

// TestDialFails tells why.
func TestDialFails(t *testing.T) {
	server := miniredis.RunT(t)
	server.RequireAuth("secret")
	fails := errors.New("no credentials today")
	for want, o := range map[string]*redis.Options{
		"NOAUTH":    {},
		"WRONGPASS": {Password: "wrong"},
		fails.Error(): {CredentialsProviderContext: func(context.Context) (string, string, error) {
			return "", "", fails
		}},
		"connect": {Network: "unix", Addr: "/nonexistent/redis.sock"},
	} {
		if o.Addr == "" {
			o.Addr = server.Addr()
		}
		client := redis.NewClient(o)
		t.Cleanup(func() { client.Close() })
		b := newBus(t, client, quick(nil))
		ctx, cancel := context.WithTimeout(within(t), patience/100)
		_, err := b.Subscribe(ctx, newInbox(), bus.Channel, "x")
		cancel()
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", want, err)
		}
		wait.Until(t, want+" is the state's error", func() bool { s := b.State(); return !s.Hearing && s.Err != nil })
	}
}
