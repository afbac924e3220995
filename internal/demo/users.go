package demo

// Ids of the demo guilds and of the users who have tokens.
const (
	// GuildID is the demo guild that the generator keeps busy.
	GuildID = "607637793107345431"
	// SecondGuildID is a small, quiet guild that has only the log viewer among the accounts. It shows that permissions
	// are per guild, and how a foreign guild looks to the others.
	SecondGuildID = "713385419834056724"

	MemberID    = "448520817221369866"
	LogViewerID = "214037134477230080"
	AdminID     = "178700012389204997"
)

// Guilds are the demo guilds.
func Guilds() []string { return []string{GuildID, SecondGuildID} }

// Account is a demo user for whom a development token can be minted: the fields are the claims of that token.
type Account struct {
	Key  string // stable: "member", "log_viewer", "administrator"
	Name string // what the user is called in the guild
	Role string // for people to read

	UserID        string
	Permissions   uint64            // in every guild
	Guilds        map[string]uint64 // guild id to the permissions there
	ArchitusAdmin bool
}

// Accounts are the three users of the demo, least powerful first.
func Accounts() []Account {
	return []Account{
		{
			Key: "member", Name: "Juniper", Role: "Member", UserID: MemberID,
			Permissions: 0x10, // ADD_AUTO_RESPONSE: neither logs nor settings
			Guilds:      map[string]uint64{GuildID: 0},
		},
		{
			Key: "log_viewer", Name: "johnyburd", Role: "Log viewer", UserID: LogViewerID,
			Permissions: 0x112, // what a token without permissions gets
			Guilds:      map[string]uint64{GuildID: 0x6, SecondGuildID: 0x1},
		},
		{
			Key: "administrator", Name: "Maple", Role: "Administrator", UserID: AdminID,
			Permissions: 0x112,
			Guilds:      map[string]uint64{GuildID: 0x1},
		},
	}
}
