package permissions_test

import (
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/architus/guildcast/event"
	"github.com/architus/guildcast/permissions"
)

// TestFilterConcurrently lets every spectator's owner change what it sees while events are routed, and checks each
// delivery against what its recipient was allowed at some moment of the Route: never something that was forbidden
// before it began and all through it.
func TestFilterConcurrently(t *testing.T) {
	const owners, rounds, routers = 8, 4000, 4
	f := permissions.NewFilter[int](permissions.DefaultPolicy())

	// mayReach[owner][level] counts up when the owner gains what the events of that level need, and again when it has
	// lost it: odd while it may be reached. The filter is changed while the count is odd, so that an even count that
	// stays the same through a Route means that the owner was forbidden all the time.
	var mayReach [owners][2]atomic.Int64
	kinds := []string{"member", "moderation"}
	claims := []*permissions.Claims{
		mustClaims(t, `{"guilds":{"607637793107345431":0}}`), // level 0: member
		mustClaims(t, `{"guilds":{"607637793107345431":4}}`), // level 1: moderation too
	}
	var everybody []int
	for owner := range owners {
		everybody = append(everybody, owner)
	}
	var wg sync.WaitGroup
	var stop atomic.Bool
	for owner := range owners {
		wg.Go(func() {
			rnd := rand.New(rand.NewPCG(uint64(owner), 1))
			for range rounds {
				level := rnd.IntN(2)
				for l := range level + 1 {
					mayReach[owner][l].Add(1)
				}
				err := f.Spectate(owner, permissions.View{Guild: guild, Claims: claims[level]}, at(10))
				if level == 1 && rnd.IntN(2) == 0 {
					err = f.Spectate(owner,
						permissions.View{Guild: guild, Form: permissions.FormObject, Claims: claims[0]}, at(10))
					mayReach[owner][1].Add(1)
					level = 0
				}
				if err != nil {
					t.Errorf("owner %d: %v", owner, err)
				}
				if rnd.IntN(2) == 0 {
					f.Remove(owner)
				} else {
					f.Revoke(permissions.Revocation{Subject: "1"}, everybody)
				}
				for l := range level + 1 {
					mayReach[owner][l].Add(1)
				}
			}
		})
	}
	var deliveries atomic.Int64
	var routersDone sync.WaitGroup
	for range routers {
		routersDone.Go(func() {
			var batches []permissions.Batch[int]
			var before [owners]int64
			for n := 0; !stop.Load(); n++ {
				level := n % 2
				e := mustParse(t, event.Topic{Guild: guild}, fmt.Sprintf(`{"kind":%q,"payload":1}`, kinds[level]))
				for owner := range owners {
					before[owner] = mayReach[owner][level].Load()
				}
				batches, _ = f.Route(batches[:0], e, at(10))
				for _, b := range batches {
					for _, owner := range b.Recipients {
						deliveries.Add(1)
						if before[owner]%2 == 0 && before[owner] == mayReach[owner][level].Load() {
							t.Errorf("%s reached %d, which may not see it", kinds[level], owner)
							return
						}
					}
				}
			}
		})
	}
	wg.Wait()
	stop.Store(true)
	routersDone.Wait()
	if deliveries.Load() == 0 {
		t.Error("nothing was delivered: the test compares silence")
	}
	if f.Len() != 0 {
		t.Errorf("%d spectators are left", f.Len())
	}
}

// crowd is a filter with 5,000 spectators in so many classes, and an event that all of them may see.
func crowd(t testing.TB, classes int) (*permissions.Filter[*int], *event.Event) {
	f := permissions.NewFilter[*int](permissions.DefaultPolicy())
	for i := range 5000 {
		bits := i / 2 % (classes / 2) << 16 // without names, and each sum of them a class of its own
		c := mustClaims(t, fmt.Sprintf(`{"sub":"%d","permissions":256,"exp":%d,"guilds":{"607637793107345431":%d}}`, i,
			1000+i, bits))
		view := permissions.View{Guild: guild, Form: permissions.Form(i % 2), Claims: c}
		if err := f.Spectate(new(int), view, at(10)); err != nil {
			t.Fatal(err)
		}
	}
	e := mustParse(t, event.Topic{Guild: guild}, `{"kind":"member","requires":["VIEW_SETTINGS"],"payload":1}`)
	if batches, _ := f.Route(nil, e, at(10)); len(batches) != classes {
		t.Fatalf("%d classes", len(batches))
	}
	return f, e
}

func TestRouteDoesNotAllocate(t *testing.T) {
	for _, classes := range []int{8, 64} {
		f, e := crowd(t, classes)
		batches := make([]permissions.Batch[*int], 0, classes)
		if n := testing.AllocsPerRun(1000, func() { batches, _ = f.Route(batches[:0], e, at(10)) }); n != 0 {
			t.Errorf("%d classes: %v allocations", classes, n)
		}
		if len(batches) != classes {
			t.Errorf("%d of %d classes", len(batches), classes)
		}
	}
}

// The budget of the project: 2 µs and 20 ns a class, without allocating, for 5,000 spectators in 8 classes.
func BenchmarkRoute5000(b *testing.B) {
	for _, classes := range []int{8, 64} {
		b.Run(fmt.Sprintf("classes=%d", classes), func(b *testing.B) {
			f, e := crowd(b, classes)
			batches := make([]permissions.Batch[*int], 0, classes)
			b.ReportAllocs()
			for b.Loop() {
				batches, _ = f.Route(batches[:0], e, time.Unix(10, 0))
			}
		})
	}
}

// What a spectator's coming and going costs while events flow, with 5,000 others in its class.
func BenchmarkSpectateRemove(b *testing.B) {
	f := permissions.NewFilter[int](permissions.DefaultPolicy())
	view := permissions.View{Guild: guild, Claims: mustClaims(b, `{"guilds":{"607637793107345431":0}}`)}
	for i := range 5000 {
		if err := f.Spectate(i, view, at(10)); err != nil {
			b.Fatal(err)
		}
	}
	e := mustParse(b, event.Topic{Guild: guild}, `{"kind":"member","payload":1}`)
	b.ReportAllocs()
	for b.Loop() {
		_ = f.Spectate(-1, view, at(10))
		f.Route(nil, e, at(10))
		f.Remove(-1)
	}
}
