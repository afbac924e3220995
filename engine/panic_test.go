package engine

import (
	"errors"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/zishang520/socket.io/v2/socket"
)

// panicky panics over the event "careless" without arguments, and answers "ping".
func panicky(s *socket.Socket) {
	_ = s.On("careless", func(args ...any) { _ = args[0].(string) })
	_ = s.On("ping", func(...any) { _ = s.Emit("pong") })
}

// A panic of a listener ends the program with its own message and stack.
func TestPanicEndsProgram(t *testing.T) {
	const child = "ENGINE_TEST_PANIC"
	if os.Getenv(child) != "" {
		s := serve(t, nil, Options{}, panicky)
		w := s.connect(t, "")
		w.send(`42["careless"]`)
		time.Sleep(testTimeout) // the panic ends it
		return
	}
	cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestPanicEndsProgram$")
	cmd.Env = append(os.Environ(), child+"=1")
	out, err := cmd.CombinedOutput()
	var exit *exec.ExitError
	if !errors.As(err, &exit) {
		t.Fatalf("the program does not end: %v\n%s", err, out)
	}
	for _, want := range []string{"panic: runtime error: index out of range [0] with length 0", "panic_test.go"} {
		if !strings.Contains(string(out), want) {
			t.Errorf("%q is not in the output:\n%.2000s", want, out)
		}
	}
}

// With OnPanic, a panic of a listener ends its client's connection and nothing else.
func TestOnPanic(t *testing.T) {
	type report struct {
		s     *socket.Socket
		v     any
		stack string
	}
	reports := make(chan report, 2)
	reasons := make(chan any, 2)
	o := Options{OnPanic: func(s *socket.Socket, v any, stack []byte) { reports <- report{s, v, string(stack)} }}
	s := serve(t, nil, o, func(s *socket.Socket) {
		panicky(s)
		_ = s.On("disconnect", func(args ...any) { reasons <- args[0] })
	})
	other := s.connect(t, "")
	w := s.connect(t, "")
	w.send(`42["careless"]`)
	select {
	case r := <-reports:
		err, ok := r.v.(error)
		if r.s == nil || !ok || !strings.Contains(err.Error(), "index out of range") ||
			!strings.Contains(r.stack, "panicky") {
			t.Errorf("report: %v %v\n%s", r.s, r.v, r.stack)
		}
	case <-time.After(testTimeout):
		t.Fatal("OnPanic is not called")
	}
	select {
	case reason := <-reasons:
		if reason != "transport error" {
			t.Errorf("reason %v", reason)
		}
	case <-time.After(testTimeout):
		t.Fatal("the client is not disconnected")
	}
	other.send(`42["ping"]`)
	other.expect(`42["pong"]`)
}
