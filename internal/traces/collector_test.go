package traces

import (
	"compress/gzip"
	"io"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"

	tracepb "go.opentelemetry.io/proto/otlp/trace/v1"
	"google.golang.org/protobuf/proto"
)

// collector takes spans, after it has answered with the statuses that it is told.
type collector struct {
	*httptest.Server

	mu       sync.Mutex
	answers  []int // guarded by mu, as the rest
	requests []*http.Request
	batches  []*tracepb.ResourceSpans
	taken    chan struct{} // gets a value for each batch
}

func newCollector(t testing.TB, answers ...int) *collector {
	t.Helper()
	c := &collector{answers: answers, taken: make(chan struct{}, 100)}
	c.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		c.mu.Lock()
		defer c.mu.Unlock()
		c.requests = append(c.requests, r)
		if len(c.answers) > 0 {
			w.WriteHeader(c.answers[0])
			c.answers = c.answers[1:]
			return
		}
		var body io.Reader = r.Body
		if r.Header.Get("Content-Encoding") == "gzip" {
			var err error
			if body, err = gzip.NewReader(r.Body); err != nil {
				t.Error(err)
				return
			}
		}
		data, err := io.ReadAll(body)
		var spans tracepb.TracesData // which is an ExportTraceServiceRequest on the wire
		if err == nil {
			err = proto.Unmarshal(data, &spans)
		}
		if err != nil {
			t.Error(err)
			return
		}
		c.batches = append(c.batches, spans.ResourceSpans...)
		c.taken <- struct{}{}
	}))
	t.Cleanup(c.Close)
	t.Setenv("OTEL_EXPORTER_OTLP_ENDPOINT", c.URL)
	t.Setenv("OTEL_BSP_SCHEDULE_DELAY", "20") // ms
	return c
}
