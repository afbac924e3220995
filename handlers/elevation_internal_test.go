package handlers

import (
	"fmt"
	"strings"
	"testing"
	"time"
)

func TestElevationTellsGuilds(t *testing.T) {
	answer := func(guilds string) string {
		b := newBench(t, Config{})
		s := b.socket("s")
		s.send("request_elevation", m{"token": claims("1", time.Now(), time.Hour, guilds)})
		return b.take(s)[0]
	}
	many := func(n int) string {
		var list []string
		for i := range n {
			list = append(list, fmt.Sprintf(`"%d":6`, i+1))
		}
		return "{" + strings.Join(list, ",") + "}"
	}
	for _, tt := range []struct {
		guilds string
		told   bool
		want   string
	}{
		{`{"7":6}`, true, `"guilds":{"7":278},"architus_admin":false`},
		{`{}`, true, `"guilds":{},"architus_admin":false`},
		{many(maxGuildsListed), true, `"1000":278`},
		{many(maxGuildsListed + 1), false, `"architus_admin":false`},
	} {
		if got := answer(tt.guilds); strings.Contains(got, `"guilds"`) != tt.told || !strings.Contains(got, tt.want) {
			t.Errorf("got %.200s, want %s", got, tt.want)
		}
	}
}
