package permissions

import (
	"errors"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/architus/guildcast/event"
)

// Form is how a client writes payloads, and therefore how it gets them. The zero value is FormObject.
type Form uint8

// The two forms.
const (
	FormObject Form = iota // a plain object
	FormString             // JSON serialised into a string
)

// View is what one recipient spectates. It sees events of Guild that its Claims allow, until they expire.
type View struct {
	Guild     string
	Logs      bool // include the guild's log topic
	Form      Form
	Positions bool // events come with their positions
	Claims    *Claims
}

// Errors of Spectate: why a view is refused.
var (
	ErrNotMember   = errors.New("not a member of the guild")
	ErrNoLogAccess = errors.New("no permission to view logs")
	ErrExpired     = errors.New("the claims have expired")
)

// Check returns why a view is refused, or nil: an error of Spectate.
func (v *View) Check(now time.Time) error {
	if v.Claims.Expired(now) {
		return ErrExpired
	}
	bits, member := v.Claims.In(v.Guild)
	if !member {
		return ErrNotMember
	}
	if v.Logs && bits&(ViewPublicLogs|ViewPrivateLogs) == 0 {
		return ErrNoLogAccess
	}
	return nil
}

// class is what all recipients of one class have in common: all that a decision depends on, except the time.
type class struct {
	bits          Bits
	architusAdmin bool
	logs          bool
	form          Form
	positions     bool
}

func (v *View) class() class {
	bits, _ := v.Claims.In(v.Guild)
	return class{bits, v.Claims != nil && v.Claims.ArchitusAdmin, v.Logs, v.Form, v.Positions}
}

// decide is the decision: it is taken once per class and event.
func (c *class) decide(t event.Topic, n need) Reason {
	switch {
	case t.Logs && !c.logs:
		return ReasonLogsNotIncluded
	case !c.bits.Has(n.bits):
		return ReasonMissing
	case n.architusAdmin && !c.architusAdmin:
		return ReasonArchitusAdmin
	}
	return ReasonAllowed
}

// Outcome says what became of an event, and labels a counter.
type Outcome string

// Outcomes of Route.
const (
	Routed          Outcome = "routed"           // somebody gets it
	UnknownKind     Outcome = "unknown_kind"     // nobody: the policy does not know its kind
	UnclearRequires Outcome = "unclear_requires" // nobody: what it requires can't be understood
	NoSpectators    Outcome = "no_spectators"    // nobody on this node spectates its guild
	Denied          Outcome = "denied"           // nobody who spectates may see it
)

// Class identifies those of a guild for whom every decision is the same, and who get events in one form.
type Class struct{ class class }

// Batch is recipients of one event who want it in one form. Recipients is shared: it must not be written to.
type Batch[R comparable] struct {
	Class      Class
	Form       Form
	Positions  bool
	Level      Level
	Recipients []R
}

// Filter is the only way from a topic to a recipient. It holds a node's spectators, each with the one guild that it
// spectates, grouped by class, so that an event costs one decision per class and not per recipient.
//
// All methods may be called concurrently. What SetPolicy, Spectate, Remove and Revoke changed holds for every Route
// that begins after they return. Expiry needs no call: Route looks at the time.
type Filter[R comparable] struct {
	policy atomic.Pointer[Policy]

	mu     sync.Mutex
	views  map[R]*place[R]        // guarded by mu; agrees with guilds
	guilds map[string][]*group[R] // guarded by mu; no empty groups, no empty lists
}

// place is where a recipient stands.
type place[R comparable] struct {
	view  View
	group *group[R]
	index int // in group.recipients
}

// group is the recipients of one class in one guild. Guarded by Filter.mu.
type group[R comparable] struct {
	class class

	recipients []R
	expires    []int64 // of recipients[i], in Unix milliseconds
	earliest   int64   // not after any of expires

	// lent is set once recipients was handed out. From then on what it holds is not changed in place: recipients are
	// appended behind it, and taken out of a copy.
	lent bool
}

// NewFilter returns a filter without spectators. A nil policy denies everything.
func NewFilter[R comparable](policy *Policy) *Filter[R] {
	f := &Filter[R]{views: map[R]*place[R]{}, guilds: map[string][]*group[R]{}}
	f.SetPolicy(policy)
	return f
}

// SetPolicy replaces the policy, for spectators and for viewers. Nil denies everything.
func (f *Filter[R]) SetPolicy(policy *Policy) { f.policy.Store(policy) }

// Route appends to dst those who may see e at this moment, batch by batch; nobody is in two batches. It allocates only
// if dst is too small.
func (f *Filter[R]) Route(dst []Batch[R], e *event.Event, now time.Time) ([]Batch[R], Outcome) {
	n, outcome := f.policy.Load().needOf(e)
	if outcome != Routed {
		return dst, outcome
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	groups := f.guilds[e.Topic.Guild]
	if len(groups) == 0 {
		return dst, NoSpectators
	}
	outcome = Denied
	nowMilli := now.UnixMilli()
	for i := len(groups) - 1; i >= 0; i-- { // from the end, because expire may take groups[i] away
		g := groups[i]
		if g.class.decide(e.Topic, n) != ReasonAllowed {
			continue
		}
		if nowMilli >= g.earliest {
			f.expire(g, nowMilli)
		}
		if len(g.recipients) == 0 {
			continue
		}
		g.lent = true
		dst = append(dst, Batch[R]{Class{g.class}, g.class.form, g.class.positions, g.class.level(), g.recipients})
		outcome = Routed
	}
	return dst, outcome
}

// Viewer decides what one recipient may see, as Route does: for one to whom the past is replayed. It goes by the policy
// of the moment.
type Viewer struct {
	policy *atomic.Pointer[Policy] // the filter's
	guild  string
	class  class
}

// Viewer returns the decision for a view at this moment, or why the view is refused.
func (f *Filter[R]) Viewer(v View, now time.Time) (Viewer, error) {
	if err := v.Check(now); err != nil {
		return Viewer{}, err
	}
	return Viewer{&f.policy, v.Guild, v.class()}, nil
}

// Sees reports whether an event is for the viewer.
func (v *Viewer) Sees(e *event.Event) bool {
	n, outcome := v.policy.Load().needOf(e)
	return v.decide(e, n, outcome) == ReasonAllowed
}

// decide is the decision about an event for which needOf returned n and outcome.
func (v *Viewer) decide(e *event.Event, n need, outcome Outcome) Reason {
	switch {
	case outcome != Routed:
		return Reason(outcome)
	case e.Topic.Guild != v.guild:
		return ReasonOtherGuild
	}
	return v.class.decide(e.Topic, n)
}

// Explain returns what Route and a Viewer decide about e for a recipient with this view at this moment, and why.
func (f *Filter[R]) Explain(v View, e *event.Event, now time.Time) Explanation {
	return f.policy.Load().Explain(v, e, now)
}

// Spectate makes r see what v allows, in place of what it saw before. It also serves to change claims or form. On an
// error r sees what it saw before, with the claims from before.
func (f *Filter[R]) Spectate(r R, v View, now time.Time) error {
	if err := v.Check(now); err != nil {
		return err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.remove(r)
	f.add(r, v)
	return nil
}

// Remove ends what r spectates, if it does.
func (f *Filter[R]) Remove(r R) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.remove(r)
}

// Take ends what r spectates, and returns it. It is false if r spectates nothing.
func (f *Filter[R]) Take(r R) (v View, there bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	p := f.views[r]
	if p == nil {
		return View{}, false
	}
	f.remove(r)
	return p.view, true
}

// Revoke ends what those of recipients spectate whose token r revokes.
func (f *Filter[R]) Revoke(r Revocation, recipients []R) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, recipient := range recipients {
		if p := f.views[recipient]; p != nil && r.Matches(p.view.Claims) {
			f.remove(recipient)
		}
	}
}

// Len returns the number of spectators.
func (f *Filter[R]) Len() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return len(f.views)
}

// add puts r, which is nowhere, into the group of its class. f.mu is held.
func (f *Filter[R]) add(r R, v View) {
	c, expires := v.class(), v.Claims.ExpiresAt.UnixMilli()
	groups := f.guilds[v.Guild]
	i := slices.IndexFunc(groups, func(g *group[R]) bool { return g.class == c })
	if i < 0 {
		i = len(groups)
		groups = append(groups, &group[R]{class: c, earliest: expires})
		f.guilds[v.Guild] = groups
	}
	g := groups[i]
	f.views[r] = &place[R]{v, g, len(g.recipients)}
	g.recipients = append(g.recipients, r)
	g.expires = append(g.expires, expires)
	g.earliest = min(g.earliest, expires)
}

// remove removes r from its group, if it is in one. f.mu is held.
func (f *Filter[R]) remove(r R) {
	p := f.views[r]
	if p == nil {
		return
	}
	delete(f.views, r)
	g := p.group
	if g.lent {
		g.recipients, g.lent = slices.Clone(g.recipients), false
	}
	// The last one takes the free place.
	last := len(g.recipients) - 1
	g.recipients[p.index], g.expires[p.index] = g.recipients[last], g.expires[last]
	if p.index != last {
		f.views[g.recipients[p.index]].index = p.index
	}
	clear(g.recipients[last:])
	g.recipients, g.expires = g.recipients[:last], g.expires[:last]
	if last == 0 {
		f.drop(p.view.Guild, g)
	}
}

// expire removes the recipients of g whose time has come. f.mu is held.
func (f *Filter[R]) expire(g *group[R], now int64) {
	for i := len(g.recipients) - 1; i >= 0; i-- { // from the end, because remove puts the last one in the free place
		if g.expires[i] <= now {
			f.remove(g.recipients[i])
		}
	}
	if len(g.expires) > 0 {
		g.earliest = slices.Min(g.expires)
	}
}

// drop removes an empty group. f.mu is held.
func (f *Filter[R]) drop(guild string, g *group[R]) {
	groups := f.guilds[guild]
	i := slices.Index(groups, g)
	groups = slices.Delete(groups, i, i+1)
	if len(groups) == 0 {
		delete(f.guilds, guild)
		return
	}
	f.guilds[guild] = groups
}
