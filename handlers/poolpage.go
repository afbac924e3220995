package handlers

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"slices"
	"strconv"
	"strings"

	"github.com/architus/guildcast/internal/botwire"
)

// maxReads bounds the pages that are read from Redis at the same time. Further reads wait, and hold nothing.
const maxReads = 64

// entity is one element of a pool.
type entity struct {
	id   string
	json []byte
	user []byte // a member's user, if the member is on a page
}

// entityOverhead is what an entity takes besides its JSON and its id, in bytes.
const entityOverhead = 64

func sizeOf(list []entity) (bytes int) {
	for i := range list {
		bytes += len(list[i].id) + len(list[i].json) + len(list[i].user) + entityOverhead
	}
	return bytes
}

// page is a portion of a pool as the cache has it. Answers share it and must not change it.
type page struct {
	list    []entity // with their users, if they are members
	waiting []string // members whose users are not cached
	missing []string // ids that are not cached
	next    uint64   // the cursor of the next page; 0 if there is none
}

// pageRead reads a page. Two with equal questions read the same page.
type pageRead struct {
	question question
	read     func(context.Context) (*page, int, error)
}

// poolPage returns a read of a page of a whole pool.
func (g *Gateway) poolPage(q poolQuery, cursor uint64) pageRead {
	return g.pageRead(q, requestAll, strconv.FormatUint(cursor, 10), func(ctx context.Context) (*page, error) {
		ids, values, next, err := g.pools.Scan(ctx, q.guild, q.kind, cursor)
		if err != nil {
			return nil, err
		}
		p := &page{next: next, list: make([]entity, 0, len(ids))}
		seen := make(map[string]struct{}, len(ids))
		for i, id := range ids {
			if _, again := seen[id]; !again {
				seen[id] = struct{}{}
				p.list = append(p.list, entity{id: id, json: values[i]})
			}
		}
		return p, nil
	})
}

// onlinePage returns a read of a page of the members who are online.
func (g *Gateway) onlinePage(q poolQuery, cursor uint64) pageRead {
	return g.pageRead(q, requestOnline, strconv.FormatUint(cursor, 10), func(ctx context.Context) (*page, error) {
		ids, next, err := g.pools.Online(ctx, q.guild, cursor)
		if err != nil {
			return nil, err
		}
		slices.Sort(ids) // a set has no order; a page should
		p := &page{next: next}
		p.list, p.missing, err = g.cached(ctx, q.guild, q.kind, slices.Compact(ids))
		return p, err
	})
}

// idsPage returns a read of the entities with these ids.
func (g *Gateway) idsPage(q poolQuery, ids []string) pageRead {
	return g.pageRead(q, requestIDs, strings.Join(ids, "\x00"), func(ctx context.Context) (p *page, err error) {
		p = &page{}
		p.list, p.missing, err = g.cached(ctx, q.guild, q.kind, ids)
		return p, err
	})
}

// pageRead returns a read that waits for one of maxReads places, calls read, and adds the users of members to the page.
func (g *Gateway) pageRead(q poolQuery, request, which string, read func(context.Context) (*page, error)) pageRead {
	return pageRead{
		question: questionOf(strings.Join([]string{q.guild, q.kind, request, which}, "\x00")),
		read: func(ctx context.Context) (p *page, bytes int, err error) {
			defer g.recovered(eventPool, &err)
			select {
			case g.reads <- struct{}{}:
				defer func() { <-g.reads }()
			case <-ctx.Done():
				return nil, 0, ctx.Err()
			}
			if p, err = read(ctx); err == nil && q.kind == typeMember {
				err = g.addUsers(ctx, p)
			}
			if err != nil {
				return nil, 0, err
			}
			return p, sizeOf(p.list) + idOverhead*(len(p.waiting)+len(p.missing)), nil
		},
	}
}

// addUsers sets the users of the members on a page, and moves members whose user is not cached to waiting.
func (g *Gateway) addUsers(ctx context.Context, p *page) error {
	if len(p.list) == 0 {
		return nil
	}
	ids := idsOf(p.list)
	users, err := g.pools.Get(ctx, "", typeUser, ids)
	if err != nil {
		return err
	}
	ready := p.list[:0]
	for i, user := range users {
		if user == nil {
			p.waiting = append(p.waiting, ids[i])
			continue
		}
		p.list[i].user = user
		ready = append(ready, p.list[i])
	}
	clear(p.list[len(ready):])
	p.list = ready
	return nil
}

// recovered turns a panic into an error: many requests may share the read, so none of them handles its panic.
func (g *Gateway) recovered(what string, err *error) {
	if p := recover(); p != nil {
		g.metrics.panics.Inc()
		g.log.Error("handler panicked", "event", what, "err", fmt.Sprint(p), "stack", string(debug.Stack()))
		*err = errInternal()
	}
}

// usersOf returns the users of members on a page.
func usersOf(members []entity) (users []entity) {
	if len(members) == 0 || members[0].user == nil {
		return nil
	}
	users = make([]entity, len(members))
	for i, m := range members {
		users[i] = entity{id: m.id, json: m.user}
	}
	return users
}

func idsOf(list []entity) []string {
	ids := make([]string, len(list))
	for i, e := range list {
		ids[i] = e.id
	}
	return ids
}

// poolError returns an error of the cache in the form that is sent to the client.
func poolError(err error) error {
	var e *Error
	if errors.As(err, &e) || errors.Is(err, context.Canceled) {
		return err
	}
	return newError(botwire.WordRedisUnavailable, "The entity cache is unavailable. Try again soon.").because(err)
}

// cached returns the cached entities, in the order of ids, and the ids of the others.
func (g *Gateway) cached(
	ctx context.Context, guild, kind string, ids []string,
) (found []entity, missing []string, err error) {
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
			found = append(found, entity{id: ids[i], json: v})
		}
	}
	return found, missing, nil
}
