//go:build linux

package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/architus/guildcast/internal/test/sioclient"
)

// guildSize is how many members the guild has that is searched.
const guildSize = 100_000

// searches: 99th percentile, in ms, from the request of a search to the last part of its answer, over each client's
// requests, one after another. The first search, which reads the whole guild, doesn't count.
func searches(s *server, addr string, clients, each int) (float64, error) {
	names, err := populate(addr)
	if err != nil {
		return 0, err
	}
	var mu sync.Mutex
	var took []time.Duration
	var failed []error
	var wg sync.WaitGroup
	for i := range clients {
		wg.Go(func() {
			ds, err := searcher(s, names, i, each)
			mu.Lock()
			defer mu.Unlock()
			took, failed = append(took, ds...), append(failed, err)
		})
	}
	wg.Wait()
	if err := errors.Join(failed...); err != nil {
		return 0, err
	}
	slices.Sort(took)
	return float64(took[len(took)*99/100].Microseconds()) / 1000, nil
}

// searcher is one client, who types.
func searcher(s *server, names []string, user, n int) ([]time.Duration, error) {
	token, err := benchToken(user+1, 2)
	if err != nil {
		return nil, err
	}
	done := make(chan string, 1)
	c, err := sioclient.Dial(s.addr, sioclient.Options{Auth: fmt.Sprintf(`{"token":%q}`, token),
		OnEvent: func(p []byte) {
			last := bytes.HasPrefix(p, []byte(`["pool_response"`)) && bytes.HasSuffix(p, []byte(`"finished":true}]`))
			if last || bytes.HasPrefix(p, []byte(`["error"`)) {
				done <- string(p)
			}
		}})
	if err != nil {
		return nil, err
	}
	defer c.Close()
	rng := rand.New(rand.NewPCG(uint64(user), 8))
	var took []time.Duration
	for i := range n + 1 {
		text, sure := typed(rng, names)
		begin := time.Now()
		if err := c.Send(fmt.Sprintf(`42["pool",{"_id":%d,"type":"member","guild_id":%q,"request":"search","query":%q,"token":%q}]`,
			i, benchGuild, text, token)); err != nil {
			return nil, err
		}
		select {
		case p := <-done:
			if strings.HasPrefix(p, `["error"`) || sure && !strings.Contains(p, `"data":[{`) {
				return nil, fmt.Errorf("search for %q: %s", text, p)
			}
		case <-time.After(30 * time.Second):
			return nil, errTimeout
		}
		if i > 0 {
			took = append(took, time.Since(begin))
		}
	}
	return took, nil
}

// typed is what somebody may type who looks for a member: mostly the beginning of a name, sometimes all of it, a part
// of it, or a name with a mistake, which need not find anything.
func typed(rng *rand.Rand, names []string) (text string, sure bool) {
	name := []rune(names[rng.IntN(len(names))])
	switch kind := rng.IntN(20); {
	case kind < 10:
		return string(name[:min(len(name), 1+rng.IntN(6))]), true
	case kind < 14:
		return string(name), true
	case kind < 17:
		from := rng.IntN(max(1, len(name)-2))
		return string(name[from:min(len(name), from+2+rng.IntN(4))]), true
	}
	at := rng.IntN(len(name) - 1)
	name[at], name[at+1] = name[at+1], name[at]
	return string(name), false
}

// populate puts the guild's members and their users into the cache, as a bot would have, unless they are there. It
// returns the members' names.
func populate(addr string) ([]string, error) {
	rng := rand.New(rand.NewPCG(5, 6))
	syllables := strings.Fields("an bel cor da el fi gra hu is jo ka li mo na or pe qui ra so ta ur vi wa xe yo zé ø ß 7 42")
	word := func(n int) string {
		var b strings.Builder
		for range n {
			b.WriteString(syllables[rng.IntN(len(syllables))])
		}
		return b.String()
	}
	client := redis.NewClient(&redis.Options{Addr: addr})
	defer client.Close()
	ctx, names := context.Background(), make([]string, guildSize)
	pipe := client.Pipeline()
	for i := range guildSize {
		id, name, nick := fmt.Sprint(200_000_000_000_000_000+i), word(2+rng.IntN(3)), "null"
		if rng.IntN(3) == 0 {
			nick = `"` + word(2) + " the " + word(3) + `"`
		}
		names[i] = name
		pipe.HSet(ctx, "guildcast:pool:{"+benchGuild+"}:member", id,
			fmt.Sprintf(`{"id":%q,"name":%q,"discriminator":"%04d","nick":%s,`+
				`"joined_at":"2021-03-04T05:06:07.089Z","avatar":null,"color":"#1abc9c","roles":["607637793107345432","607637793107345433"]}`, id, name, i%10000, nick))
		pipe.HSet(ctx, "guildcast:pool:{global}:user", id, fmt.Sprintf(`{"id":%q,"username":%q,"discriminator":"%04d",`+
			`"avatar":"0123456789abcdef0123456789abcdef","bot":false,"system":false}`, id, name, i%10000))
		if pipe.Len() >= 2000 || i == guildSize-1 {
			if _, err := pipe.Exec(ctx); err != nil {
				return nil, fmt.Errorf("fill the cache: %w", err)
			}
		}
	}
	return names, nil
}
