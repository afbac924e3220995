package handlers

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"slices"
	"time"

	"github.com/architus/guildcast/event"
	"github.com/architus/guildcast/internal/botwire"
	"github.com/architus/guildcast/permissions"
)

const (
	// maxPart is the most entities that one pool_response holds.
	maxPart = 1000

	// maxAhead is how many bytes may wait for a client before its next part is made. It bounds what a client that
	// reads slowly costs, and how long the guild's events are held up behind a pool.
	maxAhead = 256 << 10

	// paceStep is how often a client that reads slowly is looked at.
	paceStep = 5 * time.Millisecond
)

// entity is one element of a pool.
type entity struct {
	id   string
	json []byte
}

// poolAnswer makes the parts of the answer to one pool request. It belongs to the request's goroutine.
type poolAnswer struct {
	task    *task
	gateway *Gateway
	query   poolQuery
	claims  *permissions.Claims // of the moment of the request; the task ends when later ones no longer permit it

	nonexistent []string // go with the last part
	noUsers     bool     // users could not be had from the backend; it isn't asked again for this answer
}

func newPoolAnswer(t *task, q poolQuery, c *permissions.Claims) *poolAnswer {
	return &poolAnswer{task: t, gateway: t.session.gateway, query: q, claims: c}
}

// fetch answers with the entities that have these ids: what is cached at once, the rest when the backend has answered.
func (a *poolAnswer) fetch(ids []string) error {
	cached, missing, err := a.gateway.cached(a.task.ctx, a.query.guild, a.query.kind, ids)
	if err != nil {
		return err
	}
	if len(missing) == 0 {
		return a.finish(cached)
	}
	// A member whose user isn't cached waits, for users come first.
	ready, waiting, err := a.splitByUsers(cached)
	if err != nil {
		return err
	}
	for part := range slices.Chunk(ready, maxPart) {
		if err := a.part(part); err != nil {
			return err
		}
	}
	fetched, nonexistent, err := a.gateway.fetched(a.task.ctx, a.query.guild, a.query.kind, missing)
	if err != nil {
		return err
	}
	if a.query.request != requestOnline { // who is online and no member has left
		a.nonexistent = append(a.nonexistent, nonexistent...)
	}
	return a.finish(append(waiting, fetched...))
}

// everything answers with a whole pool. A pool that is cached at all is cached whole; otherwise the backend has it.
func (a *poolAnswer) everything() error {
	q := a.query
	held := make([]entity, 0, maxPart)
	seen := map[string]struct{}{}
	add := func(list []entity) error {
		for _, e := range list {
			if _, again := seen[e.id]; again {
				continue
			}
			seen[e.id] = struct{}{}
			// A full part goes out only when there is more: the last one is the one that finishes.
			if len(held) == maxPart {
				if err := a.part(held); err != nil {
					return err
				}
				held = make([]entity, 0, maxPart)
			}
			held = append(held, e)
		}
		return nil
	}
	err := a.gateway.pools.All(a.task.ctx, q.guild, q.kind, func(ids []string, values [][]byte) error {
		list := make([]entity, 0, len(ids))
		for i, v := range values {
			list = append(list, entity{ids[i], v})
		}
		return add(list)
	})
	if err == nil && len(seen) == 0 {
		err = a.gateway.ask(a.task.ctx, botwire.MethodAll, poolArgs{Type: q.kind, GuildID: q.guild}, func(r poolResult) error {
			return add(r.entities())
		})
	} else if err != nil {
		err = poolError(err)
	}
	if err != nil {
		return err
	}
	return a.finish(held)
}

// finish sends what is left; its last part ends the answer.
func (a *poolAnswer) finish(list []entity) error {
	for len(list) > maxPart {
		if err := a.part(list[:maxPart]); err != nil {
			return err
		}
		list = list[maxPart:]
	}
	if err := a.users(list); err != nil {
		return err
	}
	if err := a.pace(); err != nil {
		return err
	}
	a.task.finish(eventPoolResponse, a.body(a.query.kind, a.query.guild, list, a.nonexistent, true))
	return nil
}

// part sends entities that are not the last.
func (a *poolAnswer) part(list []entity) error {
	if len(list) == 0 {
		return nil
	}
	if err := a.users(list); err != nil {
		return err
	}
	return a.send(a.query.kind, a.query.guild, list)
}

func (a *poolAnswer) send(kind, guild string, list []entity) error {
	if err := a.pace(); err != nil {
		return err
	}
	if !a.task.send(eventPoolResponse, a.body(kind, guild, list, nil, false)) {
		return context.Canceled
	}
	return nil
}

// users sends the users of members, before the members. Users that can't be had are left out: a list of members is of
// use without them, and the client knows whom to ask for again.
func (a *poolAnswer) users(members []entity) error {
	if a.query.kind != typeMember || len(members) == 0 {
		return nil
	}
	list, missing, err := a.gateway.cached(a.task.ctx, "", typeUser, idsOf(members))
	if err != nil {
		return err
	}
	if len(missing) > 0 && !a.noUsers {
		fetched, _, err := a.gateway.fetched(a.task.ctx, "", typeUser, missing)
		if a.task.ctx.Err() != nil {
			return a.task.ctx.Err()
		}
		a.noUsers = err != nil
		list = append(list, fetched...)
	}
	return a.send(typeUser, "", list)
}

// splitByUsers tells members whose users are cached from the others. Anything but members is ready.
func (a *poolAnswer) splitByUsers(list []entity) (ready, waiting []entity, err error) {
	if a.query.kind != typeMember || len(list) == 0 {
		return list, nil, nil
	}
	_, missing, err := a.gateway.cached(a.task.ctx, "", typeUser, idsOf(list))
	if err != nil || len(missing) == 0 {
		return list, nil, err
	}
	lacks := make(map[string]bool, len(missing))
	for _, id := range missing {
		lacks[id] = true
	}
	for _, e := range list {
		if lacks[e.id] {
			waiting = append(waiting, e)
		} else {
			ready = append(ready, e)
		}
	}
	return ready, waiting, nil
}

// pace waits until the client has read what it was sent so far.
func (a *poolAnswer) pace() error {
	for a.task.session.conn().Queued() > maxAhead {
		timer := time.NewTimer(paceStep)
		select {
		case <-timer.C:
		case <-a.task.ctx.Done():
			timer.Stop()
			return a.task.ctx.Err()
		}
	}
	return a.task.ctx.Err()
}

// poolHead is what a part begins with.
type poolHead struct {
	ID      json.RawMessage `json:"_id,omitempty"`
	Type    string          `json:"type"`
	GuildID *string         `json:"guild_id"`
}

// body is the payload of one part. The entities are passed on as they are.
func (a *poolAnswer) body(kind, guild string, list []entity, nonexistent []string, finished bool) []byte {
	head := poolHead{ID: a.task.id, Type: kind}
	if guild != "" {
		head.GuildID = &guild
	}
	size := 256 + 24*len(nonexistent)
	for _, e := range list {
		size += len(e.json) + 1
	}
	b := make([]byte, 0, size)
	b = append(b, bytes.TrimSuffix(encode(head), []byte("}"))...)
	b = append(b, `,"data":[`...)
	for i, e := range list {
		if i > 0 {
			b = append(b, ',')
		}
		b = append(b, e.json...)
	}
	b = append(b, `],"nonexistent":`...)
	if nonexistent == nil {
		nonexistent = []string{}
	}
	b = append(b, encode(nonexistent)...)
	if finished {
		return append(b, `,"finished":true}`...)
	}
	return append(b, `,"finished":false}`...)
}

func idsOf(list []entity) []string {
	ids := make([]string, len(list))
	for i, e := range list {
		ids[i] = e.id
	}
	return ids
}

// poolError is an error of the cache as the client gets to know it.
func poolError(err error) error {
	var e *Error
	if errors.As(err, &e) || errors.Is(err, context.Canceled) {
		return err
	}
	return newError(botwire.WordRedisUnavailable, "The entity cache is unavailable. Try again soon.").because(err)
}

// cached looks up entities in the cache, in the order of ids.
func (g *Gateway) cached(ctx context.Context, guild, kind string, ids []string) (found []entity, missing []string, err error) {
	if len(ids) == 0 {
		return nil, nil, nil
	}
	values, err := g.pools.Get(ctx, guild, kind, ids)
	if err != nil {
		return nil, nil, poolError(err)
	}
	for i, v := range values {
		if v == nil {
			missing = append(missing, ids[i])
		} else {
			found = append(found, entity{ids[i], v})
		}
	}
	return found, missing, nil
}

// poolArgs are the arguments of a worker's pool methods.
type poolArgs struct {
	Type    string   `json:"type"`
	GuildID string   `json:"guild_id,omitempty"`
	IDs     []string `json:"ids,omitempty"`
	Query   string   `json:"query,omitempty"`
	Limit   int      `json:"limit,omitempty"`
}

// poolResult is one part of a worker's result.
type poolResult struct {
	Data []json.RawMessage `json:"data"`
}

// entities are those of a result that have an id. Ids that were sent as numbers are made the strings that clients get.
func (r poolResult) entities() []entity {
	list := make([]entity, 0, len(r.Data))
	for _, raw := range r.Data {
		if id, body, ok := identify(raw); ok {
			list = append(list, entity{id, body})
		}
	}
	return list
}

// identify finds the id of an entity, and gives the entity as clients get it.
func identify(raw []byte) (id string, body []byte, ok bool) {
	if !json.Valid(raw) {
		return "", nil, false
	}
	body = event.StringIDs(raw)
	var fields map[string]json.RawMessage // and not a struct, which would take "ID" for it
	if json.Unmarshal(body, &fields) != nil || json.Unmarshal(fields["id"], &id) != nil {
		return "", nil, false
	}
	return id, body, id != ""
}

// fetched asks the backend for entities by their ids.
func (g *Gateway) fetched(ctx context.Context, guild, kind string, ids []string) (found []entity, nonexistent []string, err error) {
	wanted := make(map[string]bool, len(ids))
	for _, id := range ids {
		wanted[id] = true
	}
	for part := range slices.Chunk(ids, maxPart) {
		err := g.ask(ctx, botwire.MethodFetch, poolArgs{Type: kind, GuildID: guild, IDs: part}, func(r poolResult) error {
			for _, e := range r.entities() {
				if wanted[e.id] { // and each at most once
					delete(wanted, e.id)
					found = append(found, e)
				}
			}
			return nil
		})
		if err != nil {
			return found, nil, err
		}
	}
	for _, id := range ids {
		if wanted[id] {
			nonexistent = append(nonexistent, id)
		}
	}
	return found, nonexistent, nil
}
