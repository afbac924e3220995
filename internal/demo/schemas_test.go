package demo

import (
	"strings"
	"testing"
	"time"

	"github.com/architus/guildcast/internal/botwire"
	"github.com/architus/guildcast/internal/test/traffic"
)

// The demo's bot writes and publishes what the schemas say, so that a dashboard can be built from them.
func TestTheDemoIsAsTheSchemasSay(t *testing.T) {
	w := NewWorld(Config{Members: 50})
	for _, k := range w.keys() {
		all, err := w.All(k.guild, k.typ)
		if err != nil || len(all) == 0 {
			t.Fatalf("%s of %q: %d entities, %v", k.typ, k.guild, len(all), err)
		}
		for _, e := range all {
			if err := traffic.Entity(k.typ, e); err != nil {
				t.Error(err)
			}
		}
	}
	s := w.Stream()
	for i := range 2000 {
		step, err := s.Next(time.Unix(1_790_000_000+int64(i), 0))
		if err != nil {
			t.Fatal(err)
		}
		for _, c := range step.Changes {
			kind := c.Key[strings.LastIndexByte(c.Key, ':')+1:]
			if c.Value == nil || !botwire.ValidType(kind) {
				continue
			}
			if err := traffic.Entity(kind, c.Value); err != nil {
				t.Error(err)
			}
		}
		for _, m := range step.Messages {
			if err := traffic.Message("guild_event", m.Payload); err != nil {
				t.Error(err)
			}
		}
	}
}
