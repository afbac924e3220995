package demo

import (
	"slices"
	"strconv"
)

// How far the stream lets things grow.
const (
	maxDrift     = 20 // members above or below the first number
	maxResponses = 30
	maxGone      = 500  // users who have left and are still known, so that what they did has a name
	maxHolders   = 2000 // of a role that an event is about, since it lists them all
)

// presenceChanged names its own event: whether somebody is online is no part of a member.
func (s *Stream) presenceChanged() error {
	m, ok := s.someone()
	if !ok {
		return nil
	}
	online := !s.w.isOnline(GuildID, m.ID)
	s.presence(GuildID, m.ID, online)
	return s.publish(GuildID, envelope{
		Event: "presence", Kind: "member",
		Payload: map[string]any{"guild_id": GuildID, "id": m.ID, "online": online},
	})
}

func (s *Stream) nickChanged() error {
	m, ok := s.someone()
	if !ok || isAccount(m.ID) {
		return nil
	}
	next := *m
	if m.Nick != nil && s.rng.IntN(2) == 0 {
		next.Nick = nil
	} else {
		next.Nick = new(nickname(s.rng))
	}
	if err := s.updated(GuildID, "member", TypeMember, "nick", &next); err != nil {
		return err
	}
	return s.log(GuildID, action{Number: 24, Reversible: true, Data: difference{Before: m.Nick, After: next.Nick}},
		m.ID, m.ID)
}

func (s *Stream) roleChanged() error {
	m, ok := s.someone()
	if !ok {
		return nil
	}
	role, ok := one[*Role](s, GuildID, TypeRole)
	// The accounts keep their roles, and the top two and the bot's are not handed out.
	if !ok || role.Managed || role.Position > 3 || isAccount(m.ID) {
		return nil
	}
	nextMember, nextRole := *m, *role
	if i := slices.Index(m.Roles, role.ID); i >= 0 {
		nextMember.Roles = slices.Delete(slices.Clone(m.Roles), i, i+1)
		nextRole.Members = slices.DeleteFunc(slices.Clone(role.Members), func(id string) bool { return id == m.ID })
	} else {
		nextMember.Roles = append(slices.Clone(m.Roles), role.ID)
		nextRole.Members = append(slices.Clone(role.Members), m.ID)
	}
	nextMember.Color = memberColor(s.w, GuildID, nextMember.Roles)
	if err := s.roleUpdated(&nextRole); err != nil {
		return err
	}
	if err := s.updated(GuildID, "member", TypeMember, "roles", &nextMember); err != nil {
		return err
	}
	return s.log(GuildID, action{
		Number: 31, Reversible: true, Data: difference{Before: len(role.Members), After: len(nextRole.Members)},
	}, AdminID, role.ID)
}

// roleUpdated publishes a role, unless it lists too many members for an event.
func (s *Stream) roleUpdated(r *Role) error {
	if len(r.Members) > maxHolders {
		return s.put(GuildID, TypeRole, r)
	}
	return s.updated(GuildID, "role", TypeRole, "members", r)
}

func (s *Stream) memberJoined() error {
	if s.w.count(GuildID, TypeMember) >= s.base+maxDrift {
		return s.memberLeft()
	}
	given, _ := pick(s.rng, givenNames())
	u := &User{ID: s.id(), Username: given, Discriminator: strconv.Itoa(1000 + s.rng.IntN(8999))}
	m := &Member{ID: u.ID, Name: u.Username, Discriminator: u.Discriminator, JoinedAt: s.now, Roles: []string{}}
	if err := s.updated(GuildID, "user", TypeUser, "joined", u); err != nil {
		return err
	}
	s.presence(GuildID, m.ID, true)
	if err := s.updated(GuildID, "member", TypeMember, "joined", m); err != nil {
		return err
	}
	return s.log(GuildID, action{Number: 2001, Data: map[string]any{"name": m.Name}}, m.ID, m.ID)
}

func (s *Stream) memberLeft() error {
	m, ok := s.someone()
	if !ok || isAccount(m.ID) || lookup[*Member](s.w, SecondGuildID, TypeMember, m.ID) != nil {
		return nil
	}
	if s.w.count(GuildID, TypeMember) <= s.base-maxDrift {
		return nil
	}
	for _, r := range all[*Role](s.w, GuildID, TypeRole) {
		if !slices.Contains(r.Members, m.ID) {
			continue
		}
		next := *r
		next.Members = slices.DeleteFunc(slices.Clone(r.Members), func(id string) bool { return id == m.ID })
		if err := s.roleUpdated(&next); err != nil {
			return err
		}
	}
	s.presence(GuildID, m.ID, false)
	if s.gone = append(s.gone, m.ID); len(s.gone) > maxGone {
		s.remove(GuildID, TypeUser, s.gone[0])
		s.gone = s.gone[1:]
	}
	if err := s.removed(GuildID, "member", TypeMember, m.ID); err != nil {
		return err
	}
	return s.log(GuildID, action{Number: 2002, Data: map[string]any{"name": m.Name}}, m.ID, m.ID)
}

func (s *Stream) userRenamed() error {
	m, ok := s.someone()
	if !ok || isAccount(m.ID) {
		return nil
	}
	u := lookup[*User](s.w, "", TypeUser, m.ID)
	if u == nil {
		return nil
	}
	nextUser, nextMember := *u, *m
	nextUser.Username, _ = pick(s.rng, givenNames())
	nextMember.Name = nextUser.Username
	if err := s.updated(GuildID, "user", TypeUser, "name", &nextUser); err != nil {
		return err
	}
	return s.updated(GuildID, "member", TypeMember, "name", &nextMember)
}

func (s *Stream) emojiUsed() error {
	e, ok := one[*CustomEmoji](s, GuildID, TypeCustomEmoji)
	if !ok {
		return nil
	}
	next := *e
	next.NumUses++
	if err := s.updated(GuildID, "emoji", TypeCustomEmoji, "used", &next); err != nil {
		return err
	}
	return s.log(GuildID, action{Number: 3401, Data: difference{Before: e.NumUses, After: next.NumUses}}, botID,
		next.ID)
}

func (s *Stream) responseTriggered() error {
	r, ok := one[*AutoResponse](s, GuildID, TypeAutoResponse)
	if !ok {
		return nil
	}
	next := *r
	next.Count++
	return s.updated(GuildID, "auto_response", TypeAutoResponse, "used", &next)
}

func (s *Stream) responseAdded() error {
	if s.w.count(GuildID, TypeAutoResponse) >= maxResponses {
		return s.responseRemoved()
	}
	m, ok := s.someone()
	if !ok {
		return nil
	}
	first, _ := pick(s.rng, handles())
	second, _ := pick(s.rng, emojiNames())
	r := newAutoResponse(GuildID, s.id(), m.ID, first+" "+second, "[:"+second+":]", 0)
	if err := s.updated(GuildID, "auto_response", TypeAutoResponse, "added", r); err != nil {
		return err
	}
	return s.log(GuildID, action{
		Number: 3200, Reversible: true, Data: map[string]any{"trigger": r.Trigger, "response": r.Response},
	}, m.ID, r.ID)
}

// responseRemoved takes one away that the stream has added.
func (s *Stream) responseRemoved() error {
	list := all[*AutoResponse](s.w, GuildID, TypeAutoResponse)
	first := len(responsePairs())
	if len(list) <= first {
		return nil
	}
	r, _ := pick(s.rng, list[first:])
	if err := s.removed(GuildID, "auto_response", TypeAutoResponse, r.ID); err != nil {
		return err
	}
	return s.log(GuildID, action{
		Number: 3202, Reversible: true, Data: map[string]any{"trigger": r.Trigger, "response": r.Response},
	}, AdminID, r.ID)
}

// isAccount reports whether the user has a token, or is the bot: these stay as they are.
func isAccount(id string) bool {
	return id == MemberID || id == LogViewerID || id == AdminID || id == botID
}
