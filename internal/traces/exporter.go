package traces

import (
	"bytes"
	"cmp"
	"compress/gzip"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/url"
	"os"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	sdk "go.opentelemetry.io/otel/sdk/trace"

	"github.com/architus/guildcast/internal/retry"
	"github.com/architus/guildcast/internal/throttle"
)

// exporter sends spans to a collector by OTLP over HTTP, in protobuf. It implements sdk.SpanExporter.
type exporter struct {
	// Static after newExporter.
	log     *slog.Logger
	url     string
	header  http.Header
	timeout time.Duration // of a batch, with all attempts
	zipped  bool
	client  *http.Client

	lines            throttle.Minutely[string] // by message
	exported, failed atomic.Uint64             // spans
}

// variable returns one of the variables of the OTLP exporter, of which that for traces counts more.
func variable(name string) string {
	return cmp.Or(os.Getenv("OTEL_EXPORTER_OTLP_TRACES_"+name), os.Getenv("OTEL_EXPORTER_OTLP_"+name))
}

// newExporter reads the OTEL_EXPORTER_OTLP variables of the environment.
func newExporter(log *slog.Logger) (*exporter, error) {
	e := &exporter{log: log, header: http.Header{}, timeout: 10 * time.Second}
	if p := variable("PROTOCOL"); p != "" && p != "http/protobuf" {
		return nil, fmt.Errorf("OTEL_EXPORTER_OTLP_PROTOCOL: %q is not http/protobuf, which alone is spoken", p)
	}
	e.url = os.Getenv("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT")
	if e.url == "" {
		base := cmp.Or(os.Getenv("OTEL_EXPORTER_OTLP_ENDPOINT"), "http://localhost:4318")
		e.url = strings.TrimSuffix(base, "/") + "/v1/traces"
	}
	if u, err := url.Parse(e.url); err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" {
		// It is not shown: it may hold a password.
		return nil, errors.New("OTEL_EXPORTER_OTLP_ENDPOINT: not a URL such as http://collector:4318")
	}
	for pair := range strings.SplitSeq(variable("HEADERS"), ",") {
		if strings.TrimSpace(pair) == "" {
			continue
		}
		name, value, ok := strings.Cut(pair, "=")
		value, err := url.PathUnescape(strings.TrimSpace(value))
		if !ok || err != nil {
			return nil, errors.New("OTEL_EXPORTER_OTLP_HEADERS: not a list such as name=value,name=value")
		}
		e.header.Set(strings.TrimSpace(name), value)
	}
	if text := variable("TIMEOUT"); text != "" {
		ms, err := strconv.Atoi(text)
		if err != nil || ms <= 0 {
			return nil, fmt.Errorf("OTEL_EXPORTER_OTLP_TIMEOUT: %q is not a number of milliseconds", text)
		}
		e.timeout = time.Duration(ms) * time.Millisecond
	}
	switch c := variable("COMPRESSION"); c {
	case "gzip":
		e.zipped = true
	case "", "none":
	default:
		return nil, fmt.Errorf("OTEL_EXPORTER_OTLP_COMPRESSION: %q is neither gzip nor none", c)
	}
	transport := http.DefaultTransport.(*http.Transport).Clone()
	var err error
	if transport.TLSClientConfig, err = tlsConfig(); err != nil {
		return nil, err
	}
	e.client = &http.Client{Transport: transport}
	return e, nil
}

// tlsConfig returns that of the variables, or nil.
func tlsConfig() (*tls.Config, error) {
	ca, cert, key := variable("CERTIFICATE"), variable("CLIENT_CERTIFICATE"), variable("CLIENT_KEY")
	if ca == "" && cert == "" {
		return nil, nil
	}
	c := &tls.Config{MinVersion: tls.VersionTLS12}
	if ca != "" {
		pem, err := os.ReadFile(ca)
		if err != nil {
			return nil, fmt.Errorf("OTEL_EXPORTER_OTLP_CERTIFICATE: %w", err)
		}
		c.RootCAs = x509.NewCertPool()
		if !c.RootCAs.AppendCertsFromPEM(pem) {
			return nil, fmt.Errorf("OTEL_EXPORTER_OTLP_CERTIFICATE: no certificate in %s", ca)
		}
	}
	if cert != "" {
		pair, err := tls.LoadX509KeyPair(cert, key)
		if err != nil {
			return nil, fmt.Errorf("OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE: %w", err)
		}
		c.Certificates = []tls.Certificate{pair}
	}
	return c, nil
}

// ExportSpans sends a batch. A collector that is away is logged and counted here, and is no error: the SDK would print
// it.
func (e *exporter) ExportSpans(ctx context.Context, spans []sdk.ReadOnlySpan) error {
	if len(spans) == 0 {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, e.timeout)
	defer cancel()
	if err := e.send(ctx, encode(spans)); err != nil {
		e.failed.Add(uint64(len(spans)))
		if e.lines.Allow("failed") {
			e.log.Warn("traces can't be exported", "err", err)
		}
		return nil
	}
	e.exported.Add(uint64(len(spans)))
	return nil
}

// send sends a body until the collector has taken or refused it, or ctx ends.
func (e *exporter) send(ctx context.Context, body []byte) error {
	if e.zipped {
		var b bytes.Buffer
		w := gzip.NewWriter(&b)
		_, _ = w.Write(body) // to memory
		_ = w.Close()
		body = b.Bytes()
	}
	pause := retry.Backoff{Min: 100 * time.Millisecond, Max: 5 * time.Second}
	for {
		again, err := e.post(ctx, body)
		if err == nil || !again || !pause.Sleep(ctx) {
			return err
		}
	}
}

// post sends a body once. again reports whether it may be sent again: not what was refused.
func (e *exporter) post(ctx context.Context, body []byte) (again bool, err error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, e.url, bytes.NewReader(body))
	if err != nil {
		return false, err
	}
	request.Header = e.header.Clone()
	request.Header.Set("Content-Type", "application/x-protobuf")
	if e.zipped {
		request.Header.Set("Content-Encoding", "gzip")
	}
	response, err := e.client.Do(request)
	if failed := (*url.Error)(nil); errors.As(err, &failed) {
		return true, failed.Err // without the URL
	} else if err != nil {
		return true, err
	}
	defer response.Body.Close()
	_, _ = io.Copy(io.Discard, io.LimitReader(response.Body, 64<<10)) // so that the connection is used again
	switch response.StatusCode {
	case http.StatusTooManyRequests, http.StatusBadGateway, http.StatusServiceUnavailable, http.StatusGatewayTimeout:
		return true, fmt.Errorf("the collector answers %s", response.Status)
	}
	if response.StatusCode/100 != 2 {
		return false, fmt.Errorf("the collector answers %s", response.Status)
	}
	return false, nil
}

// Shutdown closes the connections. The SDK calls it after the last batch.
func (e *exporter) Shutdown(context.Context) error {
	e.client.CloseIdleConnections()
	return nil
}
