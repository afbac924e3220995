//go:build integration

package integration

import (
	"encoding/json"
	"fmt"
	"testing"

	"github.com/golang-jwt/jwt/v5"
)

// TestFirstDashboard has a node of --compat architus serve what the first Architus dashboard does, with entities that a
// backend has written: those that it can decode, and some that it can't.
func TestFirstDashboard(t *testing.T) {
	beside(t)
	const members, origin, foreign = 1500, "https://archit.us", "713385419834056724"
	r := startRedis(t)
	client := redisClient(t, r.url)
	write := func(guild, kind string, entities ...map[string]any) {
		t.Helper()
		key, values := fmt.Sprintf("guildcast:pool:{%s}:%s", guild, kind), map[string]any{}
		for _, e := range entities {
			data, err := json.Marshal(e)
			if err != nil {
				t.Fatal(err)
			}
			values[fmt.Sprint(e["id"])] = data
		}
		if err := client.HSet(t.Context(), key, values).Err(); err != nil {
			t.Fatal(err)
		}
	}
	id := func(i int) string { return fmt.Sprint(214037134477230080 + i) }
	var everybody, users []map[string]any
	for i := range members {
		everybody = append(everybody, map[string]any{
			"id": id(i), "name": fmt.Sprint("member ", i), "discriminator": "0001", "avatar": nil, "color": "#00ff00",
			"joined_at": "2019-08-04T17:06:43.123000", "roles": []string{guild},
		})
		users = append(users, map[string]any{
			"id": id(i), "username": fmt.Sprint("user ", i), "discriminator": "0001", "premium_type": i % 4,
		})
	}
	write(guild, "member", everybody...)
	write("global", "user", users...)
	write(guild, "member", map[string]any{
		"id": id(members), "name": "without a date", "discriminator": "1", "roles": nil,
	})
	write("global", "guild", map[string]any{
		"id": guild, "name": "guild", "architus_admin": false, "owner": true, "permissions": 274,
		"features": []string{"NEWS"}, "has_architus": true, "premium_tier": 7, "region": []string{"eu"}, "icon": 7,
	}, map[string]any{"id": foreign, "name": "foreign"})
	write(guild, "channel", map[string]any{"id": id(1), "name": "a"}, map[string]any{"id": id(2), "name": "b"},
		map[string]any{"id": id(3)})
	write(foreign, "channel", map[string]any{"id": "7777777", "name": "a"})
	for i := range 2 {
		write(guild, "customEmoji", map[string]any{
			"id": id(i), "name": "owl", "discordId": id(i), "authorId": id(0), "url": "https://example.com/owl.png",
			"numUses": i, "priority": 0.5,
		})
		write(guild, "autoResponse", map[string]any{
			"id": id(i), "trigger": "hi", "response": "[owl]", "authorId": nil, "guildId": guild, "triggerRegex": "hi",
			"triggerPunctuation": []string{}, "responseTokens": [][]string{{"plain", "hi"}}, "count": i,
			"mode": "naive",
		})
	}
	startExample(t, "node", r.url, writePools(t, 0))
	n := startNode(t, "node", r.url, "GUILDCAST_COMPAT=architus", "GUILDCAST_ORIGINS="+origin)
	done := make(chan string, 1)
	page := start(t, "dashboard", []string{
		"URL=" + n.url, "SECRET=" + secret, "ORIGIN=" + origin, "GUILD=" + guild, "FOREIGN=" + foreign,
		"TOKEN=" + mint(t, jwt.MapClaims{"guilds": guilds{guild: 0}}),
	}, func(line []byte) { done <- string(line) }, "node", "nodejs/architus.mjs")
	if code := page.wait(t); code != 0 {
		t.Fatalf("exit code %d", code)
	}
	t.Log(<-done)
	n.drain(t)
}
