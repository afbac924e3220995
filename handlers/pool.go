package handlers

import (
	"slices"

	"github.com/architus/guildcast/internal/botwire"
	"github.com/architus/guildcast/permissions"
)

// Types of entities.
const (
	typeMember       = botwire.TypeMember
	typeChannel      = botwire.TypeChannel
	typeRole         = botwire.TypeRole
	typeAutoResponse = botwire.TypeAutoResponse
	typeSettingValue = botwire.TypeSettingValue
	typeUser         = botwire.TypeUser
	typeGuild        = botwire.TypeGuild
	typeCustomEmoji  = botwire.TypeCustomEmoji
)

// Values of the field `request`: the part of a pool that is asked for.
const (
	requestIDs    = "ids"
	requestAll    = "all"
	requestOnline = "online"
	requestSearch = "search"
)

// Bounds of a search.
const (
	defaultSearchLimit = 25
	maxSearchLimit     = 100
	maxQueryBytes      = 256
	maxNameBytes       = 64 // of a setting, whose name is its id
)

// poolQuery is a parsed `pool` request.
type poolQuery struct {
	kind    string   // the entities' type
	guild   string   // "" for the pools that belong to no guild
	request string   // one of the values above
	ids     []string // distinct
	text    string
	limit   int

	positions bool // the answer says at which position of the guild it is
	compat    bool // the answer is for the first dashboard
}

// onPool handles a `pool` request.
func onPool(r *request) error {
	q, bad := r.poolQuery()
	if bad != nil {
		return bad
	}
	return r.answerQuery(q)
}

// answerQuery answers a query, if the claims permit it.
func (r *request) answerQuery(q poolQuery) error {
	s := r.session
	claims, err := s.authorize(r)
	if err != nil {
		return err
	}
	permitted := func(c *permissions.Claims) error { return q.permitted(c, s.gateway.config.UserPool == UserPoolIDs) }
	if err := permitted(claims); err != nil {
		return err
	}
	foreign := q.foreign(claims)
	allowed := func(c *permissions.Claims) error {
		if q.foreign(c) != foreign || q.kind == typeGuild && !covers(c, claims) {
			return errNotAMember()
		}
		return permitted(c)
	}
	return s.start(r, q.size(), allowed, func(t *task) error {
		return answerPool(t, q, claims, foreign)
	})
}

// size returns how many bytes the query holds.
func (q *poolQuery) size() int {
	n := len(q.text)
	for _, id := range q.ids {
		n += len(id) + idOverhead
	}
	return n
}

// idOverhead is the size of a string's header, in bytes.
const idOverhead = 16

// poolQuery parses the request. It checks its form only, and never whether what it names exists.
func (r *request) poolQuery() (q poolQuery, err *Error) {
	if q.kind, err = r.text("type"); err != nil {
		return q, err
	}
	if q.guild, err = r.snowflake("guild_id"); err != nil {
		return q, err
	}
	switch q.kind {
	case typeMember, typeChannel, typeRole, typeAutoResponse, typeSettingValue:
		if q.guild == "" {
			return q, malformed("guild_id is missing: %ss belong to a guild.", q.kind)
		}
	case typeUser, typeGuild:
		q.guild = ""
	case typeCustomEmoji:
	default:
		return q, malformed("There is no such type.")
	}
	if q.ids, err = r.entityIDs(q.kind); err != nil {
		return q, err
	}
	if q.request, err = r.text("request"); err != nil {
		return q, err
	}
	if q.request == "" {
		q.request = requestAll
		if r.has("ids") {
			q.request = requestIDs
		}
	}
	if q.positions, err = r.flag("positions"); err != nil {
		return q, err
	}
	q.positions = q.positions || r.session.positions.Load()
	return q, r.completeQuery(&q)
}

// completeQuery parses the fields that only some kinds of request have.
func (r *request) completeQuery(q *poolQuery) (err *Error) {
	switch {
	case q.request == requestIDs:
		if !r.has("ids") {
			return malformed("ids is missing.")
		}
	case q.request == requestAll:
	case q.request == requestOnline && q.kind == typeMember:
	case q.request == requestSearch && (q.kind == typeMember || q.kind == typeUser):
		limit, err := r.integer("limit", defaultSearchLimit)
		if err != nil {
			return err
		}
		if limit < 1 || limit > maxSearchLimit {
			return malformed("limit must be 1 to %d.", maxSearchLimit)
		}
		q.limit = int(limit)
		if q.text, err = r.text("query"); err != nil {
			return err
		}
		if q.text == "" {
			return malformed("query is missing.")
		}
		if !validText(q.text, maxQueryBytes) {
			return tooLarge("query is longer than %d bytes.", maxQueryBytes)
		}
	default:
		return malformed("There is no such request for this type.")
	}
	return nil
}

// entityIDs parses the field `ids`, which holds one id or many. The id of a setting is its name.
func (r *request) entityIDs(kind string) ([]string, *Error) {
	list, isList := r.fields["ids"].([]any)
	switch {
	case !r.has("ids"):
		return nil, nil
	case !isList:
		list = []any{r.fields["ids"]}
	}
	if !within(len(list), r.session.gateway.limits().PoolIDs) {
		return nil, tooLarge("There are more than %d ids.", r.session.gateway.limits().PoolIDs)
	}
	ids := make([]string, 0, len(list))
	seen := make(map[string]struct{}, len(list))
	for _, v := range list {
		id, err := entityID(kind, v)
		if err != nil {
			return nil, err
		}
		if _, again := seen[id]; !again {
			seen[id] = struct{}{}
			ids = append(ids, id)
		}
	}
	return ids, nil
}

func entityID(kind string, v any) (string, *Error) {
	if kind != typeSettingValue {
		return snowflake("An id", v)
	}
	if name, ok := v.(string); ok && name != "" && validText(name, maxNameBytes) {
		return name, nil
	}
	return "", malformed("The id of a setting must be its name.")
}

// foreign reports whether the pool belongs to a guild that the claims are no member of. Neither the answer nor its
// timing may show what such a pool holds, or whether it exists.
func (q *poolQuery) foreign(c *permissions.Claims) bool {
	if q.guild == "" {
		return false
	}
	_, member := c.In(q.guild)
	return !member
}

// covers reports whether a is a member of every guild that b is a member of.
func covers(a, b *permissions.Claims) bool {
	if b.ArchitusAdmin && !a.ArchitusAdmin {
		return false
	}
	return !slices.ContainsFunc(b.Guilds(), func(guild string) bool {
		_, member := a.In(guild)
		return !member
	})
}

// permitted returns an error if a member may not have the pool. If usersByID is set, only an architus_admin may ask for
// users other than by their ids.
func (q *poolQuery) permitted(c *permissions.Claims, usersByID bool) error {
	if q.kind == typeUser && q.request != requestIDs && usersByID && !c.ArchitusAdmin {
		return newError(botwire.WordPermissionMissing, "Users can be asked for by their ids only.")
	}
	bits, member := c.In(q.guild)
	if q.kind == typeSettingValue && member && !bits.Has(permissions.ViewSettings) {
		return errPermission("VIEW_SETTINGS")
	}
	return nil
}
