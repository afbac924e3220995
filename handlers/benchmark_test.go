package handlers

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/architus/guildcast/engine"
	"github.com/architus/guildcast/event"
	"github.com/architus/guildcast/history"
	"github.com/architus/guildcast/permissions"
	"github.com/architus/guildcast/token"
)

// discard is an outlet that leads nowhere: what is measured is the way there.
type discard struct{ m *engine.Message }

func (d discard) encode([]byte) *engine.Message              { return d.m }
func (d discard) resume(*engine.Conn) bool                   { return true }
func (d discard) deliverAll(*engine.Conn, []*engine.Message) {}

func (d discard) flush(*engine.Conn)      {}
func (d discard) queued(*engine.Conn) int { return 0 }

func (d discard) room(context.Context, *engine.Conn, int) error { return nil }

func (d discard) deliver(*engine.Message, []*engine.Conn, engine.DeliverOptions) ([]*engine.Conn, lag) {
	return nil, nil
}

// One event to 5,000 spectators in 8 classes, from the message of Redis to the engine.
func BenchmarkGuildEvent(b *testing.B) {
	bench := newBench(b, Config{})
	bench.g.outlet = discard{new(engine.Message)}
	for i := range 5000 {
		class := i % 8
		c, err := permissions.ParseClaims(fmt.Appendf(nil, `{"sub":"%d","exp":%d,"guilds":{"7":%d}}`,
			i, time.Now().Add(time.Hour).Unix(), (class/2)*2048))
		if err != nil {
			b.Fatal(err)
		}
		err = bench.g.filter.Spectate(new(engine.Conn), permissions.View{
			Guild: "7", Logs: true, Form: permissions.Form(class % 2), Claims: c,
		}, time.Now())
		if err != nil {
			b.Fatal(err)
		}
	}
	data := []byte(`{"kind":"member","payload":` +
		`{"type":"member","guild_id":"7","data":[{"id":"1","name":"somebody","roles":[]}]}}`)
	b.ReportAllocs()
	for b.Loop() {
		bench.g.Message(event.Topic{Guild: "7"}, history.Position{}, data)
	}
}

// An elevation with a token that was never seen before, from the decoded event to the answer.
func BenchmarkElevation(b *testing.B) {
	key := []byte("a secret for tests that is long enough")
	verifier, err := token.NewVerifier(token.VerifierOptions{Secrets: []token.Secret{{Key: key}}})
	if err != nil {
		b.Fatal(err)
	}
	bench := newBench(b, Config{Limits: Limits{SocketRate: -1, UserRate: -1, AddressRate: -1}})
	bench.g.verifier, bench.g.outlet = verifier, discard{new(engine.Message)}
	tokens := make([]string, 10_000)
	for i := range tokens {
		tokens[i], err = token.Sign(token.Secret{Key: key}, map[string]any{
			"sub": fmt.Sprint(i), "jti": fmt.Sprint(i),
			"iat": time.Now().Unix(), "exp": time.Now().Add(time.Hour).Unix(),
			"permissions": 274, "guilds": map[string]int{"607637793107345431": 6, "713000000000000001": 1},
		})
		if err != nil {
			b.Fatal(err)
		}
	}
	b.ReportAllocs()
	i := 0
	for b.Loop() {
		if i%len(tokens) == 0 { // those of the round before are not remembered
			b.StopTimer()
			options := token.VerifierOptions{Secrets: []token.Secret{{Key: key}}}
			if bench.g.verifier, err = token.NewVerifier(options); err != nil {
				b.Fatal(err)
			}
			b.StartTimer()
		}
		s := newSession(bench.g, &standIn{bench, "s"}, "s", new(engine.Conn), "192.0.2.1")
		s.onEvent("request_elevation", map[string]any{"token": tokens[i%len(tokens)]})
		s.close()
		i++
	}
}

// What the histograms take of one guild event.
func BenchmarkObserveDelivery(b *testing.B) {
	d, e := newDurations(""), &event.Event{}
	received := time.Now()
	p := history.Position{Time: uint64(received.UnixMilli())}
	b.ReportAllocs()
	for b.Loop() {
		d.observeDelivery(e, p, received)
	}
}
