package forward

import (
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"time"

	"github.com/architus/guildcast/internal/proxyproto"
)

const (
	// dialTimeout is how long a node may take to accept a connection, whose machine may be gone.
	dialTimeout = 2 * time.Second
	// idleTimeout is how long a connection to a node is kept that nobody uses: less than the node itself keeps it, by
	// default.
	idleTimeout = 30 * time.Second
	// maxIdle is how many such connections there are to one node.
	maxIdle = 256
)

// peer is another node.
type peer struct {
	text      string // its entry
	target    *url.URL
	proxy     *httputil.ReverseProxy
	transport *http.Transport
}

// newPeer returns a node that is reached as its entry says.
func (f *Forwarder) newPeer(id string, e entry) (*peer, error) {
	target, err := parseURL(e.URL)
	if err != nil {
		return nil, err
	}
	dialer := &net.Dialer{
		Timeout: dialTimeout,
		// A poll waits long for its answer, and the machine may go meanwhile.
		KeepAliveConfig: net.KeepAliveConfig{Enable: true, Idle: 5 * time.Second, Interval: 5 * time.Second, Count: 3},
	}
	transport := &http.Transport{
		DialContext: proxyproto.Dial(dialer, e.Proxies), TLSHandshakeTimeout: dialTimeout, IdleConnTimeout: idleTimeout,
		MaxIdleConnsPerHost: maxIdle, DisableCompression: true, // the client's encodings are passed on
	}
	if e.Pin != "" {
		transport.TLSClientConfig = pinned(e.Pin)
	}
	proxy := &httputil.ReverseProxy{
		Transport: transport, FlushInterval: -1, BufferPool: &buffers,
		ErrorLog: slog.NewLogLogger(f.log.Handler(), slog.LevelDebug),
		Rewrite:  func(r *httputil.ProxyRequest) { f.rewrite(r, id, target) },
		ErrorHandler: func(_ http.ResponseWriter, r *http.Request, err error) {
			r.Context().Value(attemptKey).(*attempt).err = err
		},
		ModifyResponse: modifyResponse,
	}
	return &peer{target: target, proxy: proxy, transport: transport}, nil
}

func (p *peer) close() { p.transport.CloseIdleConnections() }

// rewrite makes the request that a node gets. It is the client's, but for where it goes.
func (f *Forwarder) rewrite(r *httputil.ProxyRequest, owner string, target *url.URL) {
	uri := r.In.Context().Value(attemptKey).(*attempt).uri
	r.Out.URL.Scheme, r.Out.URL.Host = target.Scheme, target.Host
	r.Out.URL.Path, r.Out.URL.RawPath = target.Path+Path+r.In.URL.Path, ""
	if r.In.URL.RawPath != "" {
		r.Out.URL.RawPath = target.EscapedPath() + Path + r.In.URL.RawPath
	}
	r.Out.URL.RawQuery, r.Out.Host = r.In.URL.RawQuery, r.In.Host
	// What proxies have said of the client stays as it was: the address beside it is that of the nearest of them.
	for _, name := range []string{"Forwarded", "X-Forwarded-For", "X-Forwarded-Host", "X-Forwarded-Proto"} {
		if values, ok := r.In.Header[name]; ok {
			r.Out.Header[name] = values
		}
	}
	r.Out.Header.Set(header, f.signer.sign(owner, r.In.Method, uri, r.In.RemoteAddr))
}

// modifyResponse returns an error for an answer that is not the owner's to the client.
func modifyResponse(r *http.Response) error {
	mark := r.Header.Get(header)
	r.Header.Del(header)
	switch {
	case mark == markRefused:
		return ErrRefused
	case mark != markServed:
		return fmt.Errorf("something else answers with status %d at %s", r.StatusCode, r.Request.URL.Host)
	case r.StatusCode == http.StatusServiceUnavailable: // it has ended its sessions, and will end
		return errors.New("the node stops")
	}
	return nil
}

// parseURL reads where a node is reached: http://host:port or https://host:port, with a path perhaps.
func parseURL(text string) (*url.URL, error) {
	u, err := url.Parse(text)
	switch {
	case err != nil:
		return nil, err
	case u.Scheme != "http" && u.Scheme != "https", u.Hostname() == "", u.User != nil, u.RawQuery != "",
		u.Fragment != "":
		return nil, fmt.Errorf("%q is not a URL such as http://10.0.0.7:8080", text)
	}
	if u.Path == "/" {
		u.Path = ""
	}
	return u, nil
}

// CheckURL returns what is wrong with a URL for Options.
func CheckURL(text string) error {
	_, err := parseURL(text)
	return err
}

// pinned accepts one certificate, whoever has signed it.
func pinned(pin string) *tls.Config {
	return &tls.Config{
		ServerName: serverName, MinVersion: tls.VersionTLS13,
		InsecureSkipVerify: true, // VerifyConnection does it
		VerifyConnection: func(s tls.ConnectionState) error {
			if pinOf(s.PeerCertificates[0].Raw) != pin {
				return errors.New("the node has another certificate than redis says")
			}
			return nil
		},
	}
}
