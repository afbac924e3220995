package botwire

import (
	"encoding/json"
	"testing"
)

// TestNames pins the names that workers and publishers of other makes use: docs/reference/redis.md and workers.md.
func TestNames(t *testing.T) {
	for have, want := range map[string]string{
		PoolKey("", TypeUser):           "guildcast:pool:{global}:user",
		PoolKey("7", TypeCustomEmoji):   "guildcast:pool:{7}:customEmoji",
		OnlineKey("7"):                  "guildcast:online:{7}",
		RequestStream(ServiceInterpret): "guildcast:requests:interpret",
		RequestStream(ServicePool(3)):   "guildcast:requests:pool:3",
	} {
		if have != want {
			t.Errorf("have %q, want %q", have, want)
		}
	}
}

func TestShard(t *testing.T) {
	for _, c := range []struct {
		guild  string
		shards int
		shard  int
		ok     bool
	}{
		{"41771983423143937", 1, 0, true},
		{"41771983423143937", 16, int((uint64(41771983423143937) >> 22) % 16), true},
		{"99999999999999999999", 3, int((uint64(23841857910156)) % 3), true}, // more than 64 bits
		{"", 4, 0, false},
		{"x", 4, 0, false},
		{"1", 0, 0, false},
	} {
		if shard, ok := Shard(c.guild, c.shards); shard != c.shard || ok != c.ok {
			t.Errorf("Shard(%q, %d) = %d, %v; want %d, %v", c.guild, c.shards, shard, ok, c.shard, c.ok)
		}
	}
}

// TestReplyForm pins the bytes of a reply.
func TestReplyForm(t *testing.T) {
	id, ok, part := "n-1", true, 0
	data, err := json.Marshal(Reply{ID: &id, OK: &ok, Result: json.RawMessage(`{"a":1}`), Worker: "w/1", Part: &part})
	if err != nil {
		t.Fatal(err)
	}
	if want := `{"id":"n-1","ok":true,"result":{"a":1},"more":false,"worker":"w/1","part":0}`; string(data) != want {
		t.Errorf("have %s\nwant %s", data, want)
	}
}
