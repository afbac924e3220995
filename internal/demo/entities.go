package demo

import (
	"time"

	"github.com/architus/guildcast/internal/botwire"
)

// Types of entities, as botwire has them.
const (
	TypeGuild        = botwire.TypeGuild
	TypeUser         = botwire.TypeUser
	TypeMember       = botwire.TypeMember
	TypeChannel      = botwire.TypeChannel
	TypeRole         = botwire.TypeRole
	TypeCustomEmoji  = botwire.TypeCustomEmoji
	TypeAutoResponse = botwire.TypeAutoResponse
	TypeSettingValue = botwire.TypeSettingValue
)

// Guild is what a dashboard knows of a Discord guild. Permissions, owner and admin flags are those of the bot, not of
// the user who looks at it.
type Guild struct {
	ID              string   `json:"id"`
	Name            string   `json:"name"`
	Icon            *string  `json:"icon"`
	Description     *string  `json:"description"`
	Region          []string `json:"region"`
	PreferredLocale string   `json:"preferred_locale"`
	Features        []string `json:"features"`
	Permissions     uint64   `json:"permissions"`
	Owner           bool     `json:"owner"`
	ArchitusAdmin   bool     `json:"architus_admin"`
	HasArchitus     bool     `json:"has_architus"`
	AFKTimeout      int      `json:"afk_timeout"` // seconds
	MaxMembers      int      `json:"max_members"`
	MemberCount     int      `json:"member_count"`
	PremiumTier     int      `json:"premium_tier"`
	PremiumCount    int      `json:"premium_subscription_count"`
	MFALevel        int      `json:"mfa_level"`
}

// User is a Discord account.
type User struct {
	ID            string  `json:"id"`
	Username      string  `json:"username"`
	Discriminator string  `json:"discriminator"`
	Avatar        *string `json:"avatar"`
	Bot           bool    `json:"bot"`
	System        bool    `json:"system"`
}

// Member is a user's place in one guild; ID is the user's.
type Member struct {
	ID            string    `json:"id"`
	Name          string    `json:"name"`
	Discriminator string    `json:"discriminator"`
	Nick          *string   `json:"nick"`
	JoinedAt      time.Time `json:"joined_at"`
	Avatar        *string   `json:"avatar"`
	Color         *string   `json:"color"` // "#rrggbb" of the highest coloured role
	Roles         []string  `json:"roles"`
}

// Channel is a text or voice channel.
type Channel struct {
	ID   string `json:"id"`
	Name string `json:"name"`
}

// Role lists the members that hold it.
type Role struct {
	ID          string   `json:"id"`
	Name        string   `json:"name"`
	Color       string   `json:"color"`
	Hoist       bool     `json:"hoist"`
	Position    int      `json:"position"`
	Managed     bool     `json:"managed"`
	Mentionable bool     `json:"mentionable"`
	Members     []string `json:"members"`
}

// CustomEmoji is an emoji that the bot manages; ID is a HoarFrost.
type CustomEmoji struct {
	ID        string  `json:"id"`
	Name      string  `json:"name"`
	DiscordID *string `json:"discordId"`
	AuthorID  string  `json:"authorId"`
	URL       string  `json:"url"`
	NumUses   int     `json:"numUses"`
	Priority  float64 `json:"priority"`
}

// AutoResponse is a trigger with its response; ID is a HoarFrost.
type AutoResponse struct {
	ID                 string      `json:"id"`
	Trigger            string      `json:"trigger"`
	Response           string      `json:"response"`
	AuthorID           *string     `json:"authorId"`
	GuildID            string      `json:"guildId"`
	TriggerRegex       string      `json:"triggerRegex"`
	TriggerPunctuation []string    `json:"triggerPunctuation"`
	ResponseTokens     [][2]string `json:"responseTokens"` // [tag, text]
	Count              int         `json:"count"`
	Mode               string      `json:"mode"` // punctuated, naive or regex
}

// SettingValue is one setting of a guild; ID is its name.
type SettingValue struct {
	ID    string `json:"id"`
	Value any    `json:"value"`
}

// Epoch is where Discord's snowflakes and the bot's HoarFrosts start to count.
var Epoch = time.Date(2015, time.January, 1, 0, 0, 0, 0, time.UTC)

// snowflake is the id of something made at t; low tells apart what was made in the same millisecond, and only its
// lowest 22 bits count.
func snowflake(t time.Time, low uint64) uint64 {
	return uint64(t.Sub(Epoch).Milliseconds())<<22 | low&(1<<22-1)
}
