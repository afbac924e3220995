package main

import (
	"testing"
	"time"

	"github.com/architus/guildcast/internal/demo"
	"github.com/architus/guildcast/node"
	"github.com/architus/guildcast/token"
)

// Whatever a token of the demo's own secret says, it is good for the demo guilds only: the node may have real ones.
func TestDemoTokensOpenTheDemoOnly(t *testing.T) {
	own := demoSecret()
	api := token.Secret{Key: []byte("a secret of the API, 32 bytes long")}
	v, err := token.NewVerifier(token.VerifierOptions{Secrets: []token.Secret{api, own}})
	if err != nil {
		t.Fatal(err)
	}
	const realGuild = "713000000000000001"
	mint := demoMint(&node.Config{}, own)
	for _, a := range demo.Accounts() {
		wide := a
		wide.ArchitusAdmin = true
		wide.Guilds = map[string]uint64{realGuild: 1}
		for guild, bits := range a.Guilds {
			wide.Guilds[guild] = bits
		}
		text, _, err := mint(wide, time.Hour)
		if err != nil {
			t.Fatal(err)
		}
		c, err := v.Verify(t.Context(), text)
		if err != nil {
			t.Fatal(err)
		}
		if _, member := c.In(realGuild); member || c.GuildCount() != len(a.Guilds) {
			t.Errorf("%s sees %v", a.Key, c.Guilds())
		}
	}
}
