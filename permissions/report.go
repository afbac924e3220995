package permissions

import "github.com/architus/guildcast/event"

// Report is an Explanation with what was asked, for people and, as JSON, for programs.
type Report struct {
	Sees   bool   `json:"sees"`
	Reason Reason `json:"reason"`
	Detail string `json:"detail,omitempty"` // of a token or a message that is refused

	UserID      string `json:"user_id,omitempty"`
	GuildID     string `json:"guild_id,omitempty"`
	IncludeLogs bool   `json:"include_logs"`

	Event   string `json:"event,omitempty"`
	Kind    string `json:"kind"`
	Private bool   `json:"private"`
	Rule    *Terms `json:"rule"` // of the kind; null without one

	// Names of permissions, as in Bits.Names.
	Required []string `json:"required"`
	Held     []string `json:"held"`
	Missing  []string `json:"missing"`

	NeedsArchitusAdmin bool `json:"needs_architus_admin"`
}

// Terms are a Rule in words.
type Terms struct {
	Public        []string `json:"public"`
	Private       []string `json:"private"`
	ArchitusAdmin bool     `json:"architus_admin"`
	Source        string   `json:"source"` // SourceDefault or SourceFile
}

// Sources of a rule.
const (
	SourceDefault = "default"
	SourceFile    = "file"
)

// Report explains the decision about e and v, as Explain does.
func (x *Explanation) Report(v View, e *event.Event) Report {
	r := Report{
		Sees: x.Sees(), Reason: x.Reason, GuildID: v.Guild, IncludeLogs: v.Logs,
		Event: e.Name, Kind: e.Kind, Private: e.Private,
		Required: x.Required.Names(), Held: x.Held.Names(), Missing: x.Missing.Names(),
		NeedsArchitusAdmin: x.ArchitusAdmin,
	}
	if v.Claims != nil {
		r.UserID = v.Claims.Subject
	}
	if x.Held == All { // and not a number of the bits without a name
		r.Held = named.Names()
	}
	if x.HasRule {
		source := SourceDefault
		if x.FromFile {
			source = SourceFile
		}
		r.Rule = &Terms{x.Rule.Public.Names(), (x.Rule.Private | ViewPrivateLogs).Names(), x.Rule.ArchitusAdmin, source}
	}
	return r
}
