package demo

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"strconv"
	"time"

	"github.com/architus/guildcast/internal/botwire"
)

// Change is one write to the pool cache: HSET, or HDEL where Value is nil.
type Change struct {
	Key   string // of the hash
	ID    string
	Value []byte
}

// Presence is one write to the set of a guild's members online.
type Presence struct {
	Key    string // of the set
	UserID string
	Online bool
}

// Message is one event for a topic.
type Message struct {
	Topic   string // without the prefix
	Payload []byte
}

// Step is one thing that happened: what to write, and then what to publish.
type Step struct {
	Changes  []Change
	Presence []Presence
	Messages []Message
}

// Stream invents what happens in the demo guilds. The sequence follows from the seed and the times given to Next. It is
// owned by one goroutine.
type Stream struct {
	w      *World
	rng    *rand.Rand
	serial uint64
	total  int      // of all weights
	base   int      // members of the main guild at the start
	gone   []string // users who have left, the first to leave first

	// State of the step that is being made.
	now  time.Time
	step Step
}

// Stream starts a sequence over the world, which it changes as it goes.
func (w *World) Stream() *Stream {
	s := &Stream{w: w, rng: rand.New(rand.NewPCG(w.seed, 0x73747265616d))}
	s.base = w.count(GuildID, TypeMember)
	for _, h := range happenings() {
		s.total += h.weight
	}
	return s
}

// Next invents one step, at now.
func (s *Stream) Next(now time.Time) (Step, error) {
	s.now, s.step = now.UTC(), Step{}
	pick := s.rng.IntN(s.total)
	for _, h := range happenings() {
		if pick -= h.weight; pick >= 0 {
			continue
		}
		if err := h.make(s); err != nil {
			return Step{}, err
		}
		break
	}
	return s.step, nil
}

// put changes an entity in the world and in the cache.
func (s *Stream) put(guild, typ string, e entity) error {
	b, err := json.Marshal(e)
	if err != nil {
		return fmt.Errorf("encode %s %s: %w", typ, e.entityID(), err)
	}
	for _, k := range poolsOf(guild, typ) {
		s.w.put(k.guild, k.typ, e)
		s.step.Changes = append(s.step.Changes,
			Change{Key: botwire.PoolKey(k.guild, k.typ), ID: e.entityID(), Value: b})
	}
	return nil
}

func (s *Stream) remove(guild, typ, id string) {
	for _, k := range poolsOf(guild, typ) {
		s.w.remove(k.guild, k.typ, id)
		s.step.Changes = append(s.step.Changes, Change{Key: botwire.PoolKey(k.guild, k.typ), ID: id})
	}
}

// poolsOf returns the pools that hold an entity of a guild: users and guilds in a global pool, emojis in both, the rest
// in the guild's.
func poolsOf(guild, typ string) []poolKey {
	switch typ {
	case TypeUser, TypeGuild:
		return []poolKey{{"", typ}}
	case TypeCustomEmoji:
		return []poolKey{{"", typ}, {guild, typ}}
	}
	return []poolKey{{guild, typ}}
}

func (s *Stream) presence(guild, id string, online bool) {
	s.w.setOnline(guild, id, online)
	s.step.Presence = append(s.step.Presence, Presence{Key: botwire.OnlineKey(guild), UserID: id, Online: online})
}

// envelope is a guild event as it is published.
type envelope struct {
	Event    string   `json:"event,omitempty"`
	Kind     string   `json:"kind"`
	Private  bool     `json:"private,omitempty"`
	Requires []string `json:"requires,omitempty"`
	Payload  any      `json:"payload"`
}

// update is the payload of a pool event. It has the form of a pool_response, so that a client can take both through the
// same code: Data holds what was added or changed, Nonexistent what is gone.
// Changed is a word on what has changed of an entity, which a page can put into a sentence.
type update struct {
	Type        string   `json:"type"`
	GuildID     string   `json:"guild_id"`
	Changed     string   `json:"changed,omitempty"`
	Data        []any    `json:"data"`
	Nonexistent []string `json:"nonexistent"`
}

// updated publishes entities that were added or changed, after writing them.
func (s *Stream) updated(guild, kind, typ, changed string, e entity) error {
	if err := s.put(guild, typ, e); err != nil {
		return err
	}
	return s.publish(guild, envelope{Kind: kind, Payload: update{typ, guild, changed, []any{e}, []string{}}})
}

// removed publishes that an entity is gone, after deleting it.
func (s *Stream) removed(guild, kind, typ, id string) error {
	s.remove(guild, typ, id)
	return s.publish(guild, envelope{Kind: kind, Payload: update{typ, guild, "", []any{}, []string{id}}})
}

// action is a log entry.
type action struct {
	ID            string  `json:"id"`
	GuildID       string  `json:"guild_id"`
	DiscordObject any     `json:"discord_object"`
	Private       bool    `json:"private"`
	Reversible    bool    `json:"reversible"`
	Number        int     `json:"action_number"`
	AgentID       *string `json:"agent_id"`
	SubjectID     *string `json:"subject_id"`
	Data          any     `json:"data"`
}

// difference is the data of an update.
type difference struct {
	Before any `json:"before"`
	After  any `json:"after"`
}

// log publishes a log entry; who did it and what it is about may be empty.
func (s *Stream) log(guild string, a action, agent, subject string) error {
	a.ID, a.GuildID = s.id(), guild
	if agent != "" {
		a.AgentID = &agent
	}
	if subject != "" {
		a.SubjectID = &subject
	}
	return s.publish(guild+"_logs", a)
}

func (s *Stream) publish(topic string, message any) error {
	b, err := json.Marshal(message)
	if err != nil {
		return fmt.Errorf("encode message for %s: %w", topic, err)
	}
	s.step.Messages = append(s.step.Messages, Message{Topic: topic, Payload: b})
	return nil
}

func (s *Stream) id() string {
	s.serial++
	return strconv.FormatUint(snowflake(s.now, s.serial), 10)
}

// pick returns a random element, and false if there is none.
func pick[T any](rng *rand.Rand, list []T) (T, bool) {
	if len(list) == 0 {
		var none T
		return none, false
	}
	return list[rng.IntN(len(list))], true
}

// one returns a random entity of a pool, and false if there is none.
func one[T entity](s *Stream, guild, typ string) (T, bool) {
	var none T
	s.w.mu.RLock()
	defer s.w.mu.RUnlock()
	p := s.w.pools[poolKey{guild, typ}]
	if p == nil {
		return none, false
	}
	id, ok := pick(s.rng, p.ids)
	if !ok {
		return none, false
	}
	e, ok := p.byID[id].(T)
	return e, ok
}
