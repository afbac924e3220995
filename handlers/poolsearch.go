package handlers

import (
	"errors"

	"github.com/architus/guildcast/handlers/directory"
	"github.com/architus/guildcast/internal/botwire"
)

// search answers with the entities whose names match the query's text, best first.
func (a *poolAnswer) search() error {
	q, g := a.query, a.gateway
	p := directory.Pool{Guild: q.guild, Kind: q.kind}
	ids, cached, err := g.directories.Search(a.task.ctx, a.task.session, p, q.text, q.limit)
	switch {
	case errors.Is(err, directory.ErrGone):
		return errNotElevated()
	case err != nil:
		return poolError(err)
	case !cached: // the backend has the pool, and searches it
		return a.searchBackend()
	}
	list, _, err := g.cached(a.task.ctx, q.guild, q.kind, ids)
	if err != nil {
		return err
	}
	return a.deliver(list, true) // a member that left since is not missing
}

func (a *poolAnswer) searchBackend() error {
	q := a.query
	list, err := a.ask(botwire.MethodSearch, poolArgs{Type: q.kind, GuildID: q.guild, Query: q.text, Limit: q.limit})
	if err != nil {
		return err
	}
	return a.deliver(list[:min(len(list), q.limit)], true)
}
