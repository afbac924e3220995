package demo

import (
	"fmt"
	"math/rand/v2"
	"strconv"
	"strings"
	"time"
)

const maxMembers = 100_000

// builder builds the world's first state. It uses no clock, so that a seed always gives the same people with the same
// ids.
type builder struct {
	w       *World
	rng     *rand.Rand
	members int
	serial  uint64
}

func newBuilder(w *World, c Config) *builder {
	return &builder{
		w:       w,
		rng:     rand.New(rand.NewPCG(c.Seed, 0x6275696c64)),
		members: min(c.Members, maxMembers),
	}
}

func (b *builder) build() {
	b.users()
	b.guild(GuildID, "The Archive", "A book club that got out of hand")
	b.mainGuild()
	b.guild(SecondGuildID, "Quiet Corner", "Eight friends and a bot")
	b.secondGuild()
}

// id returns a new snowflake some time before the guild's present.
func (b *builder) id() string {
	b.serial++
	at := time.Date(2016, 1, 1, 0, 0, 0, 0, time.UTC).Add(time.Duration(b.rng.Int64N(int64(7 * 365 * 24 * time.Hour))))
	return strconv.FormatUint(snowflake(at, b.serial), 10)
}

func (b *builder) users() {
	for _, a := range Accounts() {
		b.w.put("", TypeUser, &User{ID: a.UserID, Username: a.Name, Discriminator: b.discriminator()})
	}
	b.w.put("", TypeUser, &User{ID: botID, Username: "architus", Discriminator: "7145", Bot: true})
	given, handle := givenNames(), handles()
	// A few more than there are members: people who left, whom the logs still name and who can only be fetched.
	for i := len(Accounts()) + 1; i < b.members+formerUsers; i++ {
		name := given[b.rng.IntN(len(given))]
		switch b.rng.IntN(3) {
		case 0:
			name = strings.ToLower(name) + "_" + handle[b.rng.IntN(len(handle))]
		case 1:
			name = handle[b.rng.IntN(len(handle))] + strconv.Itoa(b.rng.IntN(100))
		}
		u := &User{ID: b.id(), Username: name, Discriminator: b.discriminator()}
		b.w.put("", TypeUser, u)
		if i >= b.members {
			b.w.former = append(b.w.former, u.ID)
		}
	}
}

const (
	botID       = "448546825532866560"
	formerUsers = 6
)

func (b *builder) discriminator() string { return fmt.Sprintf("%04d", 1+b.rng.IntN(9998)) }

func (b *builder) guild(id, name, description string) {
	b.w.put("", TypeGuild, &Guild{
		ID: id, Name: name, Description: &description, Region: []string{"us-east"}, PreferredLocale: "en-US",
		Features: []string{"COMMUNITY", "NEWS"}, Permissions: 0x7fffffff, HasArchitus: true,
		AFKTimeout: 300, MaxMembers: 250_000, PremiumTier: 1, PremiumCount: 4, MFALevel: 1,
	})
}

func (b *builder) mainGuild() {
	roles := b.roles(GuildID)
	users := all[*User](b.w, "", TypeUser)
	for i, u := range users[:len(users)-formerUsers] {
		held := []string{}
		switch {
		case u.ID == AdminID:
			held = append(held, roles[0].ID)
		case u.ID == LogViewerID || i%40 == 7:
			held = append(held, roles[1].ID)
		case u.Bot:
			held = append(held, roles[4].ID)
		case b.rng.IntN(3) == 0:
			held = append(held, roles[2].ID)
		}
		if b.rng.IntN(4) == 0 {
			held = append(held, roles[3].ID)
		}
		b.member(GuildID, u, held)
	}
	b.holders(GuildID)
	for _, name := range channelNames() {
		b.w.put(GuildID, TypeChannel, &Channel{ID: b.id(), Name: name})
	}
	for _, name := range emojiNames() {
		b.emoji(GuildID, name)
	}
	for _, p := range responsePairs() {
		b.response(GuildID, p[0], p[1])
	}
	b.settings(GuildID)
}

func (b *builder) secondGuild() {
	users := all[*User](b.w, "", TypeUser)
	for _, u := range users[:min(8, len(users))] {
		if u.ID == MemberID || u.ID == AdminID {
			continue
		}
		b.member(SecondGuildID, u, []string{})
	}
	b.w.put(SecondGuildID, TypeChannel, &Channel{ID: b.id(), Name: "general"})
	b.emoji(SecondGuildID, "shh")
	b.response(SecondGuildID, "hush", "[:shh:]")
	b.settings(SecondGuildID)
	b.holders(SecondGuildID)
}

func (b *builder) roles(guild string) []*Role {
	list := []*Role{
		{Name: "Librarian", Color: "#c2185b", Hoist: true, Position: 5},
		{Name: "Archivist", Color: "#7b5cd6", Hoist: true, Position: 4},
		{Name: "Reader", Color: "#2e86c1", Position: 3, Mentionable: true},
		{Name: "Night Owl", Color: "#00897b", Position: 2, Mentionable: true},
		{Name: "architus", Color: "#607d8b", Position: 1, Managed: true},
	}
	for _, r := range list {
		r.ID, r.Members = b.id(), []string{}
		b.w.put(guild, TypeRole, r)
	}
	return list
}

func (b *builder) member(guild string, u *User, roles []string) {
	m := &Member{
		ID: u.ID, Name: u.Username, Discriminator: u.Discriminator, Roles: roles,
		JoinedAt: time.Date(2019, 8, 4, 0, 0, 0, 0, time.UTC).Add(time.Duration(b.rng.IntN(1500*24)) * time.Hour),
	}
	if b.rng.IntN(3) == 0 && !isAccount(u.ID) { // accounts go by the names that the page gives them
		m.Nick = new(nickname(b.rng))
	}
	m.Color = memberColor(b.w, guild, roles)
	b.w.put(guild, TypeMember, m)
	if u.Bot || b.rng.IntN(5) < 2 {
		b.w.setOnline(guild, u.ID, true)
	}
}

// holders writes into each role who holds it, and into the guild how many members there are.
func (b *builder) holders(guild string) {
	members := all[*Member](b.w, guild, TypeMember)
	for _, r := range all[*Role](b.w, guild, TypeRole) {
		next := *r
		next.Members = []string{}
		for _, m := range members {
			for _, id := range m.Roles {
				if id == r.ID {
					next.Members = append(next.Members, m.ID)
				}
			}
		}
		b.w.put(guild, TypeRole, &next)
	}
	g := *lookup[*Guild](b.w, "", TypeGuild, guild)
	g.MemberCount = len(members)
	b.w.put("", TypeGuild, &g)
}

func (b *builder) emoji(guild, name string) {
	e := &CustomEmoji{
		ID: b.id(), Name: name, DiscordID: new(b.id()), AuthorID: AdminID,
		NumUses: b.rng.IntN(400), Priority: float64(b.rng.IntN(1000)) / 10,
	}
	e.URL = "/emoji/" + e.ID + ".png"
	for _, k := range poolsOf(guild, TypeCustomEmoji) {
		b.w.put(k.guild, k.typ, e)
	}
}

func (b *builder) response(guild, trigger, response string) {
	b.w.put(guild, TypeAutoResponse, newAutoResponse(guild, b.id(), AdminID, trigger, response, b.rng.IntN(60)))
}

func (b *builder) settings(guild string) {
	values := []SettingValue{
		{"command_prefix", "!"}, {"responses_enabled", true}, {"responses_trigger_length", 2},
		{"responses_response_length", 500}, {"starboard_emoji", "⭐"}, {"starboard_threshold", 5},
		{"gulag_threshold", 5}, {"gulag_severity", 5}, {"default_role", "0"}, {"music_volume", 0.1},
		{"manage_emojis", false},
	}
	for i := range values {
		b.w.put(guild, TypeSettingValue, &values[i])
	}
}

// nickname returns one made of a handle and a name.
func nickname(rng *rand.Rand) string {
	given, handle := givenNames(), handles()
	g, h := given[rng.IntN(len(given))], handle[rng.IntN(len(handle))]
	switch rng.IntN(3) {
	case 0:
		return g + " the " + h
	case 1:
		return h + " 📚"
	}
	return g
}

// memberColor returns the color of the highest role that is held, or nil.
func memberColor(w *World, guild string, roles []string) *string {
	var top *Role
	for _, id := range roles {
		if r := lookup[*Role](w, guild, TypeRole, id); r != nil && (top == nil || r.Position > top.Position) {
			top = r
		}
	}
	if top == nil {
		return nil
	}
	return new(top.Color)
}
