package permissions

import (
	"errors"
	"time"

	"github.com/architus/guildcast/event"
	"github.com/architus/guildcast/internal/botwire"
)

// Reason says why a view shows an event, or why it does not. There are few, and programs may branch on them.
type Reason string

// Reasons of an Explanation, in the order in which they are looked at: the first that applies counts.
const (
	ReasonExpired         Reason = botwire.WordTokenExpired
	ReasonNotMember       Reason = botwire.WordNotAMember
	ReasonNoLogAccess     Reason = "no_log_access"               // the view includes logs, and its user may see none
	ReasonUnknownKind     Reason = Reason(UnknownKind)           // the policy has no rule for the kind: nobody sees it
	ReasonUnclearRequires Reason = Reason(UnclearRequires)       // nobody meets what the event requires
	ReasonOtherGuild      Reason = "other_guild"                 // the event is of another guild than the view
	ReasonLogsNotIncluded Reason = "logs_not_included"           // a log event, and the view is without logs
	ReasonMissing         Reason = botwire.WordPermissionMissing // see Explanation.Missing
	ReasonArchitusAdmin   Reason = "architus_admin_missing"      // the rule keeps the kind to bearers of architus_admin
	ReasonAllowed         Reason = "allowed"
)

// Explanation is the decision about one event and one view, with what it rests on.
type Explanation struct {
	Reason Reason

	Rule     Rule // of the event's kind; zero without one
	HasRule  bool
	FromFile bool // whether a policy file says so, of the rule or that there is none

	Required      Bits // what the rule, private and the event itself require together; 0 if that is unclear
	ArchitusAdmin bool // whether the rule requires architus_admin too
	Held          Bits // what the view's user holds in its guild
	Missing       Bits // what is required and not held
}

// Sees reports whether the event is for the view.
func (x *Explanation) Sees() bool { return x.Reason == ReasonAllowed }

// Explain returns what Route and Viewer decide about e for a recipient with this view at this moment, and why.
func (p *Policy) Explain(v View, e *event.Event, now time.Time) Explanation {
	x := Explanation{Reason: reasonOf(v.Check(now))}
	x.Rule, x.HasRule = p.Rule(e.Kind)
	x.FromFile = p != nil && p.changed[e.Kind]
	n, outcome := p.needOf(e)
	viewer := Viewer{guild: v.Guild, class: v.class()} // decide needs no policy
	x.Required, x.ArchitusAdmin, x.Held = n.bits, n.architusAdmin, viewer.class.bits
	x.Missing = n.bits &^ x.Held
	if x.Reason == ReasonAllowed {
		x.Reason = viewer.decide(e, n, outcome)
	}
	return x
}

// reasonOf returns the reason for an error of View.Check.
func reasonOf(err error) Reason {
	switch {
	case err == nil:
		return ReasonAllowed
	case errors.Is(err, ErrExpired):
		return ReasonExpired
	case errors.Is(err, ErrNoLogAccess):
		return ReasonNoLogAccess
	}
	return ReasonNotMember
}
