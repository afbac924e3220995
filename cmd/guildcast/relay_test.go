package main

import (
	"context"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"

	"github.com/alicebob/miniredis/v2"
	goredis "github.com/redis/go-redis/v9"

	"github.com/architus/guildcast/internal/test/wait"
)

func TestRelay(t *testing.T) {
	server := miniredis.RunT(t)
	client := goredis.NewClient(&goredis.Options{Addr: server.Addr()})
	defer client.Close()
	addr := freeAddr(t)
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() {
		url := "redis://" + server.Addr()
		args := []string{"relay", "--redis", url, "--from-prefix", "bot:", "--metrics-addr", addr}
		ended <- run(ctx, args, nil, hangups{}, strings.NewReader(""), io.Discard, io.Discard)
	}()
	get := func(path string) (status int, body string) {
		response, err := http.Get("http://" + addr + path)
		if err != nil {
			return 0, ""
		}
		defer response.Body.Close()
		text, _ := io.ReadAll(response.Body)
		return response.StatusCode, string(text)
	}
	wait.Until(t, "the relay leads", func() bool {
		_, body := get("/metrics")
		status, _ := get("/readyz")
		return status == http.StatusOK && strings.Contains(body, "guildcast_relay_leading 1")
	})
	if err := client.Publish(t.Context(), "bot:5_logs", `{"payload":1}`).Err(); err != nil {
		t.Fatal(err)
	}
	wait.Until(t, "the event is published", func() bool {
		_, body := get("/metrics")
		return strings.Contains(body, "guildcast_relay_published_total 1")
	})
	entries, err := client.XRange(t.Context(), "guildcast:history:{5}", "-", "+").Result()
	if err != nil || len(entries) != 1 || entries[0].Values["t"] != "logs" ||
		entries[0].Values["m"] != `{"payload":1}` {
		t.Errorf("the history is %v, %v", entries, err)
	}
	if status, _ := get("/healthz"); status != http.StatusOK {
		t.Errorf("/healthz answers %d", status)
	}
	http.DefaultClient.CloseIdleConnections()
	cancel()
	if err := <-ended; err != nil {
		t.Errorf("the relay ended with %v", err)
	}
}

// freeAddr returns an address of the loopback interface on which nobody listens.
func freeAddr(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}
