// Package history is the durable events of guilds: what a node reads again when it or a client has missed something.
package history

// Position is the place of an event in the history of its guild: the id of its entry in a Redis stream. The zero value
// is before everything.
type Position struct {
	Time uint64 // ms since 1970, by Redis's clock
	Seq  uint64 // among the entries of that time
}

// IsZero reports whether p is before everything.
func (p Position) IsZero() bool { return p == Position{} }
