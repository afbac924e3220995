package handlers

import "github.com/architus/guildcast/internal/botwire"

// search answers with the entities whose names are like the query's text, best first.
func (a *poolAnswer) search() error {
	q, g := a.query, a.gateway
	d, err := g.directories.of(a.task.ctx, a.task.session, pool{q.guild, q.kind})
	if err != nil {
		return err
	}
	if d.index.Len() == 0 { // the pool is not cached: whoever has it searches it
		return a.searchBackend()
	}
	list, _, err := g.cached(a.task.ctx, q.guild, q.kind, d.index.Search(q.text, q.limit))
	if err != nil {
		return err
	}
	return a.finish(list) // who left since is not missing
}

func (a *poolAnswer) searchBackend() error {
	q := a.query
	var list []entity
	err := a.gateway.ask(a.task.ctx, botwire.MethodSearch, poolArgs{Type: q.kind, GuildID: q.guild, Query: q.text, Limit: q.limit},
		func(r poolResult) error {
			list = append(list, r.entities()...)
			return nil
		})
	if err != nil {
		return err
	}
	return a.finish(list[:min(len(list), q.limit)])
}
