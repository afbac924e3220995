package node

import (
	"bytes"
	"errors"
	"io"
	"log/slog"
	"net"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"
)

// scripted is a listener whose Accept fails as it is told.
type scripted struct {
	net.Listener
	errs []error
}

func (s *scripted) Accept() (net.Conn, error) {
	err := s.errs[0]
	s.errs = s.errs[1:]
	return nil, err
}

func TestListenerSaysWhatIsWrong(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		full := &net.OpError{Op: "accept", Err: syscall.EMFILE}
		s, failures := &scripted{}, &atomic.Uint64{}
		var log bytes.Buffer
		l := &acceptor{Listener: s, log: slog.New(slog.NewTextHandler(&log, nil)), failures: failures}
		for _, step := range []struct {
			after time.Duration
			err   error
			want  string // a line of the log
		}{
			{0, nil, ""},
			{0, full, "file descriptors have run out"},
			{time.Second, full, ""},
			{time.Second, nil, "accepted again"},
			{time.Second, full, ""},
			{time.Minute, full, "file descriptors have run out"},
			{time.Second, &net.OpError{Op: "accept", Err: syscall.ENFILE}, ""},
			{time.Second, io.ErrUnexpectedEOF, "new clients can't be accepted"},
			{time.Minute, nil, "accepted again"},
			{0, net.ErrClosed, ""},
		} {
			time.Sleep(step.after)
			log.Reset()
			s.errs = append(s.errs, step.err)
			if _, err := l.Accept(); !errors.Is(err, step.err) {
				t.Errorf("%v became %v", step.err, err)
			}
			if got := log.String(); !strings.Contains(got, step.want) || step.want == "" && got != "" {
				t.Errorf("after %v: %q, want %q", step.err, got, step.want)
			}
		}
		if n := failures.Load(); n != 6 {
			t.Errorf("%d failures were counted", n)
		}
	})
}
