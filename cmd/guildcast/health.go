package main

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"time"

	"github.com/architus/guildcast/internal/proxyproto"
)

// health is the command that asks a node on this machine how it is, for a container without curl.
type health struct {
	URL            string        `name:"url" placeholder:"URL" help:"What to ask; /healthz of the node at --addr on this machine if left out."`
	Ready          bool          `help:"Ask /readyz instead: whether the node should get clients."`
	Timeout        time.Duration `default:"5s" placeholder:"DURATION" help:"Wait for the answer."`
	Addr           string        `default:"${addr}" placeholder:"HOST:PORT" help:"Address that the node listens on."`
	ProxyProtocol  bool          `help:"Set if the node expects the PROXY protocol from --trusted-proxies."`
	TrustedProxies []string      `placeholder:"CIDR" help:"Networks of the node's proxies."`
	TlsCert        string        `placeholder:"FILE" help:"Set if the node serves HTTPS. The certificate is not checked."`
}

// Run prints the node's answer. It fails unless the status is 200.
func (c *health) Run(ctx context.Context, t terminal) error {
	if c.Timeout <= 0 {
		return usagef("--timeout: must be more than 0")
	}
	url, err := c.url()
	if err != nil {
		return err
	}
	dial, err := c.dial()
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, c.Timeout)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return usagef("--url: %w", err)
	}
	client := http.Client{
		Transport: &http.Transport{
			DisableKeepAlives: true, DialContext: dial,
			// The certificate is for the name that clients use, and the node is asked by its address.
			TLSClientConfig: &tls.Config{InsecureSkipVerify: c.URL == ""},
		},
		CheckRedirect: func(*http.Request, []*http.Request) error { return errors.New("redirected") },
	}
	response, err := client.Do(request)
	if err != nil {
		return fmt.Errorf("health: %w", err)
	}
	defer response.Body.Close()
	text, err := io.ReadAll(io.LimitReader(response.Body, 1024))
	if err != nil {
		return fmt.Errorf("health: %w", err)
	}
	if response.StatusCode != http.StatusOK {
		return fmt.Errorf("health: %s: %s", response.Status, text)
	}
	_, err = t.out.Write(text)
	return err
}

// dial returns a dialer for a node.
func (c *health) dial() (func(context.Context, string, string) (net.Conn, error), error) {
	if !c.ProxyProtocol || c.URL != "" {
		return new(net.Dialer).DialContext, nil
	}
	trusted, err := parsePrefixes(c.TrustedProxies)
	if err != nil {
		return nil, err
	}
	return proxyproto.Dial(new(net.Dialer), trusted), nil
}

// url returns what to ask.
func (c *health) url() (string, error) {
	if c.URL != "" {
		if c.Ready {
			return "", usagef("--url and --ready exclude each other")
		}
		return c.URL, nil
	}
	host, port, err := net.SplitHostPort(c.Addr)
	if err != nil {
		return "", usagef("--addr: %w", err)
	}
	if ip := net.ParseIP(strings.Trim(host, "[]")); host == "" || ip != nil && ip.IsUnspecified() {
		host = "localhost" // IPv4 or IPv6, whichever the node listens on
	}
	scheme, path := "http", "/healthz"
	if c.TlsCert != "" {
		scheme = "https"
	}
	if c.Ready {
		path = "/readyz"
	}
	return scheme + "://" + net.JoinHostPort(host, port) + path, nil
}
