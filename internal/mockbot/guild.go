package mockbot

import "time"

// guild is the memory of one mock guild. It is owned by the holder of the bot's turn.
type guild struct {
	id        int64 // static
	used      time.Time
	accounted int // bytes that Bot.bytes holds for this guild

	responses []*autoResponse // in the order in which they were set
	events    []*event        // polls and schedules, oldest first
}

// guildBytes is about what an empty guild takes, with its places in the lists.
const guildBytes = 512

func newGuild(id int64) *guild { return &guild{id: id} }

// size is about how many bytes the guild takes.
func (g *guild) size() int {
	n := guildBytes
	for _, r := range g.responses {
		n += r.size
	}
	for _, e := range g.events {
		n += e.size
	}
	return n
}

// cost is the sum of the responses' matching costs.
func (g *guild) cost() int {
	n := 0
	for _, r := range g.responses {
		n += r.trigger.cost
	}
	return n
}

// event finds the poll or schedule that a message of the bot's shows, or nil.
func (g *guild) event(messageID int64) *event {
	for _, e := range g.events {
		if e.messageID == messageID {
			return e
		}
	}
	return nil
}

// addEvent remembers one; the oldest goes when there are too many.
func (g *guild) addEvent(e *event, most int) {
	if len(g.events) >= most {
		g.events = append(g.events[:0:0], g.events[1:]...)
	}
	g.events = append(g.events, e)
}
