package demo

import (
	"slices"
	"strings"
	"time"

	"github.com/architus/guildcast/event"
)

// happening is something that can happen in a guild, and how often it does.
type happening struct {
	weight int
	make   func(*Stream) error
}

// happenings is everything that the stream can invent. Between them they use every kind of the default policy.
func happenings() []happening {
	return []happening{
		{14, (*Stream).messageSent},
		{3, (*Stream).messageEdited},
		{3, (*Stream).messageDeleted},
		{8, (*Stream).reacted},
		{7, (*Stream).presenceChanged},
		{5, (*Stream).nickChanged},
		{4, (*Stream).roleChanged},
		{4, (*Stream).memberJoined},
		{4, (*Stream).memberLeft},
		{2, (*Stream).userRenamed},
		{2, (*Stream).channelRenamed},
		{5, (*Stream).emojiUsed},
		{6, (*Stream).responseTriggered},
		{3, (*Stream).responseAdded},
		{3, (*Stream).responseRemoved},
		{3, (*Stream).settingChanged},
		{2, (*Stream).guildBoosted},
		{2, (*Stream).nowPlaying},
		{2, (*Stream).inviteCreated},
		{1, (*Stream).webhookCreated},
		{2, (*Stream).integrationUpdated},
		{2, (*Stream).interaction},
		{4, (*Stream).moderated},
		{2, (*Stream).adminChanged},
		{2, (*Stream).internalNote},
		{1, (*Stream).quietCorner},
	}
}

// someone returns a random human member of the main guild.
func (s *Stream) someone() (*Member, bool) {
	for range 4 {
		if m, ok := one[*Member](s, GuildID, TypeMember); ok && m.ID != botID {
			return m, true
		}
	}
	return nil, false
}

func (s *Stream) channel() string {
	c, ok := one[*Channel](s, GuildID, TypeChannel)
	if !ok {
		return ""
	}
	return c.ID
}

// messageObject describes the place of a message.
func (s *Stream) messageObject() any {
	return map[string]any{"type": "message", "id": s.id(), "channel_id": s.channel()}
}

func (s *Stream) line() string {
	text, _ := pick(s.rng, chatter())
	return text
}

// private makes about one log entry in four private, as those of a channel that not everybody sees.
func (s *Stream) private() bool { return s.rng.IntN(4) == 0 }

func (s *Stream) messageSent() error {
	m, ok := s.someone()
	if !ok {
		return nil
	}
	return s.log(GuildID, action{
		Number: 3001, Private: s.private(), DiscordObject: s.messageObject(),
		Data: map[string]any{"content": s.line()},
	}, m.ID, m.ID)
}

func (s *Stream) messageEdited() error {
	m, ok := s.someone()
	if !ok {
		return nil
	}
	return s.log(GuildID, action{
		Number: 2004, Private: s.private(), DiscordObject: s.messageObject(),
		Data: difference{Before: s.line(), After: s.line()},
	}, m.ID, m.ID)
}

func (s *Stream) messageDeleted() error {
	m, ok := s.someone()
	if !ok {
		return nil
	}
	return s.log(GuildID, action{
		Number: 72, Private: s.private(), DiscordObject: s.messageObject(),
		Data: map[string]any{"content": s.line()},
	}, AdminID, m.ID)
}

func (s *Stream) reacted() error {
	m, ok := s.someone()
	if !ok {
		return nil
	}
	number := 3100
	if s.rng.IntN(4) == 0 {
		number = 3101
	}
	emoji, _ := pick(s.rng, reactionEmojis())
	return s.log(GuildID, action{
		Number: number, Private: s.private(), DiscordObject: s.messageObject(),
		Data: map[string]any{"emoji": emoji},
	}, m.ID, m.ID)
}

func (s *Stream) channelRenamed() error {
	c, ok := one[*Channel](s, GuildID, TypeChannel)
	if !ok {
		return nil
	}
	next := *c
	if base, busy := strings.CutSuffix(c.Name, "-busy"); busy {
		next.Name = base
	} else {
		next.Name += "-busy"
	}
	if err := s.updated(GuildID, "channel", TypeChannel, "name", &next); err != nil {
		return err
	}
	return s.log(GuildID, action{Number: 11, Reversible: true, Data: difference{Before: c.Name, After: next.Name}},
		AdminID, c.ID)
}

func (s *Stream) guildBoosted() error {
	g := *lookup[*Guild](s.w, "", TypeGuild, GuildID)
	before := g.PremiumCount
	g.PremiumCount = 2 + (before+1)%12
	if err := s.updated(GuildID, "guild", TypeGuild, "boosts", &g); err != nil {
		return err
	}
	return s.log(GuildID, action{Number: 1, Data: difference{Before: before, After: g.PremiumCount}}, "", GuildID)
}

// nowPlaying names its own event.
func (s *Stream) nowPlaying() error {
	tunes := []string{"Clair de lune", "Gymnopédie No. 1", "Blue in Green", "Für Elise", "Take Five"}
	tune, _ := pick(s.rng, tunes)
	return s.publish(GuildID, envelope{
		Event: "now_playing", Kind: "guild",
		Payload: map[string]any{"guild_id": GuildID, "title": tune, "at": s.now.Format(time.RFC3339)},
	})
}

func (s *Stream) inviteCreated() error {
	m, ok := s.someone()
	if !ok {
		return nil
	}
	const letters = "ABCDEFGHJKLMNPQRSTUVWXYZabcdefghjkmnpqrstuvwxyz23456789"
	code := make([]byte, 8)
	for i := range code {
		code[i] = letters[s.rng.IntN(len(letters))]
	}
	return s.log(GuildID, action{
		Number: 40 + s.rng.IntN(3), Reversible: true,
		Data: map[string]any{"code": string(code), "max_age": 86400},
	}, m.ID, s.channel())
}

func (s *Stream) webhookCreated() error {
	return s.log(GuildID, action{
		Number: 50 + s.rng.IntN(3), Reversible: true, Private: s.private(),
		Data: map[string]any{"name": "release notes"},
	}, AdminID, s.channel())
}

func (s *Stream) integrationUpdated() error {
	return s.log(GuildID, action{
		Number: 81, Data: difference{Before: "twitch: off", After: "twitch: on"},
	}, AdminID, GuildID)
}

func (s *Stream) interaction() error {
	m, ok := s.someone()
	if !ok {
		return nil
	}
	commands := []string{"/role", "/poll", "/play", "/remindme"}
	command, _ := pick(s.rng, commands)
	return s.log(GuildID, action{Number: 2009, Data: map[string]any{"command": command}}, m.ID, m.ID)
}

// moderated is a kick, a ban, an unban or a voice move; nobody is really removed from the guild.
func (s *Stream) moderated() error {
	former, ok := pick(s.rng, s.w.former)
	if !ok {
		return nil
	}
	numbers := []int{20, 22, 23, 26, 27}
	number, _ := pick(s.rng, numbers)
	return s.log(GuildID, action{
		Number: number, Private: true, Reversible: number == 22,
		Data: map[string]any{"reason": "spoilers outside of the thread"},
	}, AdminID, former)
}

func (s *Stream) adminChanged() error {
	return s.log(GuildID, action{
		Number: 3300 + s.rng.IntN(2), Private: true,
		Data: map[string]any{"setting": "bot admin"},
	}, AdminID, LogViewerID)
}

// internalNote concerns the bot's own people: no demo user may see it.
func (s *Stream) internalNote() error {
	return s.publish(GuildID+"_logs", envelope{
		Kind: event.KindInternal,
		Payload: map[string]any{
			"id": s.id(), "guild_id": GuildID, "note": "shard 0 took the lead", "at": s.now.Format(time.RFC3339),
		},
	})
}

func (s *Stream) settingChanged() error {
	settings := all[*SettingValue](s.w, GuildID, TypeSettingValue)
	settings = slices.DeleteFunc(settings, func(v *SettingValue) bool {
		_, number := v.Value.(int)
		return !number
	})
	v, ok := pick(s.rng, settings)
	if !ok {
		return nil
	}
	before, _ := v.Value.(int)
	next := SettingValue{ID: v.ID, Value: 1 + (before+s.rng.IntN(9))%500}
	if err := s.put(GuildID, TypeSettingValue, &next); err != nil {
		return err
	}
	e := envelope{Kind: "setting", Payload: update{TypeSettingValue, GuildID, "value", []any{&next}, []string{}}}
	if s.rng.IntN(3) == 0 { // a change that only those who may make it see
		e.Requires = []string{"MANAGE_SETTINGS"}
	}
	return s.publish(GuildID, e)
}

func (s *Stream) quietCorner() error {
	m, ok := one[*Member](s, SecondGuildID, TypeMember)
	if !ok {
		return nil
	}
	return s.log(SecondGuildID, action{Number: 3001, Data: map[string]any{"content": "shh"}}, m.ID, m.ID)
}
