package handlers

import (
	"context"
	"runtime"
	"testing"
	"time"
	"weak"

	"github.com/architus/guildcast/internal/test/wait"
	"github.com/architus/guildcast/permissions"
)

// slowKeys verifies a token once it may.
type slowKeys struct {
	verifier
	asked chan struct{}
	ready chan struct{}
}

func (v *slowKeys) Verify(ctx context.Context, text string) (*permissions.Claims, error) {
	v.asked <- struct{}{}
	<-v.ready
	return v.verifier.Verify(ctx, text)
}

// A request that waited for key sets kept the client's whole payload, decoded: fifty times its size.
func TestNothingIsKeptWhileKeysAreWaitedFor(t *testing.T) {
	type junk [1 << 20]byte
	for _, tt := range []struct{ event, answer string }{
		{"request_elevation", "request_elevation_return"}, {"spectate", "spectate_return"},
		{"pool", "error"}, {"demote", "elevation_expired"},
	} {
		t.Run(tt.event, func(t *testing.T) {
			b := newBench(t, Config{})
			s := b.socket("s")
			token := claims("1", time.Now(), time.Hour, `{"7":6}`)
			s.send("request_elevation", token)
			b.take(s)
			keys := &slowKeys{b.g.verifier, make(chan struct{}), make(chan struct{})}
			b.g.verifier = keys

			sent := new(junk)
			args := []any{tt.event, m{
				"token": token, "junk": []any{sent}, "guild_id": "7", "type": "role", "ids": []any{"1"},
			}}
			left := weak.Make(sent)
			sent = nil
			done := make(chan struct{})
			go func() {
				defer close(done)
				s.onEvent(args...)
				runtime.KeepAlive(args) // as the library does
			}()
			<-keys.asked
			wait.Until(t, "what nobody reads to be let go", func() bool {
				runtime.GC()
				return left.Value() == nil
			})
			close(keys.ready)
			<-done
			var got []string
			wait.Until(t, "the answer", func() bool {
				got = append(got, b.take(s)...)
				return len(got) > 0
			})
			wantNames(t, got[:1], tt.answer)
		})
	}
}
