package node_test

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/architus/guildcast/node"
)

const handshake = "/?EIO=4&transport=polling"

func TestPath(t *testing.T) {
	r := run(t, node.Config{Path: "/live/ws", ServeClient: true})
	if got := r.status(t, "/live/ws"+handshake); got != http.StatusOK {
		t.Errorf("handshake under the path: %d", got)
	}
	for _, path := range []string{"/socket.io" + handshake, "/socket.io/socket.io.js", "/live/ws/socket.io.LICENSE"} {
		if got := r.status(t, path); got == http.StatusOK {
			t.Errorf("%s is served", path)
		}
	}
	for _, name := range []string{"socket.io.js", "socket.io.min.js", "socket.io.esm.min.js"} {
		response, err := http.Get(r.URL + "/live/ws/" + name)
		if err != nil {
			t.Fatal(err)
		}
		response.Body.Close()
		h := response.Header
		if response.StatusCode != http.StatusOK || h.Get("ETag") == "" ||
			!strings.HasPrefix(h.Get("Content-Type"), "application/javascript") {
			t.Errorf("%s: %s, %v", name, response.Status, h)
		}
	}
	http.DefaultClient.CloseIdleConnections()
}

func TestBadPath(t *testing.T) {
	for _, path := range []string{"socket.io", "/", "/a/", "//a", "/a/../b", "/{a}", "/a b"} {
		if _, err := node.New(node.Config{Path: path}); err == nil || !strings.Contains(err.Error(), "path") {
			t.Errorf("%q: %v", path, err)
		}
	}
}

// TestDrainDelay takes clients in after the node has said that it is not ready.
func TestDrainDelay(t *testing.T) {
	t.Parallel()
	r := run(t, node.Config{DrainDelay: 5 * time.Second})
	r.waitReady(t, http.StatusOK)
	stopped := make(chan error, 1)
	go func() { stopped <- r.stop() }()
	r.waitReady(t, http.StatusServiceUnavailable)
	if got := r.status(t, "/socket.io"+handshake); got != http.StatusOK {
		t.Errorf("a new client in the delay: %d", got)
	}
	if err := <-stopped; err != nil {
		t.Error(err)
	}
}
