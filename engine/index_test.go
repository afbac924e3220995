package engine

import (
	"fmt"
	"maps"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/zishang520/socket.io/v2/socket"
	"pgregory.net/rapid"
)

func ids(members []*member) []socket.SocketId {
	out := []socket.SocketId{}
	for _, m := range members {
		out = append(out, m.id)
	}
	slices.Sort(out)
	return out
}

// TestIndexModel compares the index with sets of pairs.
func TestIndexModel(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var x index
		x.watch()
		viewed := rapid.Bool().Draw(t, "viewed from the start")
		if viewed {
			x.views()
		}
		type pair struct {
			id   socket.SocketId
			room socket.Room
		}
		model, known := map[pair]bool{}, map[socket.SocketId]bool{}
		rooms := map[socket.Room]int{}
		genID := rapid.SampledFrom([]socket.SocketId{"a", "b", "c", "d"})
		genRoom := rapid.SampledFrom([]socket.Room{"a", "b", "c", "r1", "r2", "r3"})
		find := func(socket.SocketId) *socket.Socket { return nil }
		for range rapid.IntRange(1, 60).Draw(t, "steps") {
			id := genID.Draw(t, "id")
			switch rapid.IntRange(0, 3).Draw(t, "op") {
			case 0, 1:
				in := rapid.SliceOfN(genRoom, 0, 3).Draw(t, "rooms")
				x.add(id, in, find)
				known[id] = true
				for _, r := range in {
					model[pair{id, r}] = true
				}
			case 2:
				r := genRoom.Draw(t, "room")
				x.remove(id, r)
				delete(model, pair{id, r})
			case 3:
				x.removeAll(id)
				delete(known, id)
				maps.DeleteFunc(model, func(p pair, _ bool) bool { return p.id == id })
			}
			x.emit(func(e roomEvent) {
				switch e.kind {
				case createRoom:
					if rooms[e.room] != 0 {
						t.Fatalf("created room %s has %d members", e.room, rooms[e.room])
					}
				case joinRoom:
					rooms[e.room]++
				case leaveRoom:
					rooms[e.room]--
				case deleteRoom:
					if rooms[e.room] != 0 {
						t.Fatalf("deleted room %s has %d members", e.room, rooms[e.room])
					}
				}
			})
		}
		count := map[socket.Room]int{}
		for p := range model {
			count[p.room]++
		}
		for _, r := range []socket.Room{"a", "b", "c", "r1", "r2", "r3"} {
			if rooms[r] != count[r] || x.hasMembers([]socket.Room{r}) != (count[r] > 0) {
				t.Fatalf("room %s: events say %d, the model %d, the index %v", r, rooms[r], count[r],
					x.hasMembers([]socket.Room{r}))
			}
		}
		if got := len(x.roomNames(true)); got != len(count) {
			t.Fatalf("%d rooms, want %d", got, len(count))
		}
		roomsView, sidsView := x.views()
		if roomsView.Len() != len(count) || sidsView.Len() != len(known) || len(x.all) != len(known) {
			t.Fatalf("views of %d and %d, want %d and %d", roomsView.Len(), sidsView.Len(), len(count), len(known))
		}
		for id := range known {
			got, _ := x.roomsOf(id)
			set, _ := sidsView.Load(id)
			for _, r := range got {
				ids, _ := roomsView.Load(r)
				if !model[pair{id, r}] || !set.Has(r) || !ids.Has(id) {
					t.Fatalf("%s is in %s", id, r)
				}
				delete(model, pair{id, r})
			}
		}
		if len(model) > 0 {
			t.Fatalf("lost: %v", model)
		}
	})
}

func TestIndexChoose(t *testing.T) {
	conn := map[socket.SocketId]*socket.Socket{}
	for _, id := range []socket.SocketId{"a", "b", "c", "d"} {
		conn[id] = socket.MakeSocket()
	}
	// The index asks the socket for its connection, which these have not.
	var x index
	add := func(id socket.SocketId, rooms ...socket.Room) {
		x.add(id, rooms, func(socket.SocketId) *socket.Socket { return nil })
		x.member(id).sock = conn[id]
		x.tell(id, func() {})
	}
	add("a", "a", "r", "s")
	add("b", "b", "r")
	add("c", "c", "s", "a") // in a room that is another's id
	add("d", "d")
	add("e", "e", "r") // not connected
	for _, c := range []struct{ rooms, except, want string }{
		{"", "", "abcd"}, {"r", "", "ab"}, {"rs", "", "abc"}, {"a", "", "ac"}, {"ab", "", "abc"},
		{"r", "a", "b"}, {"", "r", "cd"}, {"rs", "r", "c"}, {"x", "", ""}, {"", "abcd", ""}, {"ra", "s", "b"},
		{"e", "", ""},
	} {
		split := func(s string) (out []socket.Room) {
			for _, r := range s {
				out = append(out, socket.Room(r))
			}
			return out
		}
		got := ""
		for _, id := range ids(x.choose(split(c.rooms), split(c.except), nil)) {
			got += string(id)
		}
		if got != c.want {
			t.Errorf("rooms %q except %q: %q, want %q", c.rooms, c.except, got, c.want)
		}
	}
}

// TestIndexConcurrent joins and leaves from many goroutines: no join is lost.
func TestIndexConcurrent(t *testing.T) {
	var x index
	find := func(socket.SocketId) *socket.Socket { return nil }
	var wg sync.WaitGroup
	for g := range 8 {
		wg.Go(func() {
			for i := range 200 {
				id := socket.SocketId(fmt.Sprintf("%d-%d", g, i))
				x.add(id, []socket.Room{"shared", socket.Room(id)}, find)
				x.add(id, []socket.Room{socket.Room(fmt.Sprint("r", i%7))}, find)
				x.hasMembers([]socket.Room{"shared"})
				x.choose([]socket.Room{"shared"}, nil, nil)
				if i%2 == 0 {
					x.removeAll(id)
				} else {
					x.remove(id, socket.Room(fmt.Sprint("r", i%7)))
				}
			}
		})
	}
	wg.Wait()
	shared, _ := x.rooms.Get("shared")
	if n := len(shared.seats); n != 800 || x.rooms.Len() != 1 || len(x.all) != 800 {
		t.Errorf("%d members, %d rooms, %d sockets", n, x.rooms.Len(), len(x.all))
	}
}

func TestHasMembersDoesNotAllocate(t *testing.T) {
	a := MakeAdapter()
	a.index.add("a", []socket.Room{"a", "r"}, func(socket.SocketId) *socket.Socket { return nil })
	if n := testing.AllocsPerRun(100, func() { a.HasMembers("r", "x") }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func BenchmarkChooseRoomOf1000(b *testing.B) {
	var x index
	for i := range 1000 {
		id := socket.SocketId(fmt.Sprint(i))
		x.add(id, []socket.Room{socket.Room(id), "r"}, func(socket.SocketId) *socket.Socket { return nil })
		x.member(id).sock = socket.MakeSocket()
	}
	rooms, list := []socket.Room{"r"}, []*member{}
	b.ReportAllocs()
	for b.Loop() {
		list = x.choose(rooms, nil, list[:0])
	}
}

func (x *index) member(id socket.SocketId) *member {
	m, _ := x.members.Get(id)
	return m
}

// TestGoneIsForgotten: who has left is remembered for goneFor at least, and not for ever.
func TestGoneIsForgotten(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var x index
		bury := func(id socket.SocketId) {
			x.mu.Lock()
			x.buryLocked(id)
			x.mu.Unlock()
		}
		isGone := func(id socket.SocketId) bool {
			synctest.Wait() // for the timer's function
			x.mu.Lock()
			defer x.mu.Unlock()
			return x.gone.Has(id)
		}
		bury("a")
		time.Sleep(goneFor - time.Second)
		bury("b")
		time.Sleep(goneFor - time.Second)
		if !isGone("b") {
			t.Error("b is forgotten too early")
		}
		bury("c")
		time.Sleep(2 * time.Second)
		if isGone("a") || !isGone("c") {
			t.Error("a should be forgotten, c not yet")
		}
		time.Sleep(2 * goneFor)
		synctest.Wait()
		x.mu.Lock()
		defer x.mu.Unlock()
		if x.gone.Len() > 0 || x.forgetting {
			t.Error("something is remembered for ever")
		}
	})
}
