package handlers

import "sync"

// flights are the deliveries under way. A change that takes something away from a socket waits for deliveries decided
// before it, so that the client hears of the change after the last event that it no longer may see. A list is enough: a
// delivery waits for nobody, so there are few at once.
type flights struct {
	mu      sync.Mutex
	landed  sync.Cond // on mu; a flight has ended
	next    uint64
	list    []flight
	waiting int
}

type flight struct {
	number uint64
	guild  string
}

func newFlights() *flights {
	f := &flights{}
	f.landed.L = &f.mu
	return f
}

// begin registers a delivery to the spectators of guild. Call it before deciding who they are.
func (f *flights) begin(guild string) uint64 {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.next++
	f.list = append(f.list, flight{f.next, guild})
	return f.next
}

// end removes a delivery once it is queued for everybody.
func (f *flights) end(number uint64) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for i := range f.list {
		if f.list[i].number == number {
			last := len(f.list) - 1
			f.list[i] = f.list[last]
			f.list = f.list[:last]
			break
		}
	}
	if f.waiting > 0 {
		f.landed.Broadcast()
	}
}

// wait waits for the deliveries to guild that began before the call.
func (f *flights) wait(guild string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.waiting++
	defer func() { f.waiting-- }()
	for until := f.next; f.underway(guild, until); {
		f.landed.Wait()
	}
}

func (f *flights) underway(guild string, until uint64) bool {
	for _, x := range f.list {
		if x.guild == guild && x.number <= until {
			return true
		}
	}
	return false
}
