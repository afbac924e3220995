package handlers

import (
	"context"

	"github.com/architus/guildcast/internal/botwire"
	"github.com/architus/guildcast/permissions"
)

const (
	// maxPart bounds the entities of one pool_response.
	maxPart = 1000

	// maxAhead bounds the bytes that may wait for a client before its next part is made. So it bounds what a slow
	// reader costs, and how long the guild's events wait behind a pool.
	maxAhead = 256 << 10
)

// poolAnswer makes the parts of the answer to one pool request. It is owned by the request's goroutine. While it waits
// for the client to read, or for other answers of the socket, it holds its cursor and no entities, except those of a
// worker, which can't be read again.
type poolAnswer struct {
	task    *task
	gateway *Gateway
	query   poolQuery
	claims  *permissions.Claims // when the request came; the task ends if later claims don't permit it

	// When the request came, on the clocks of Gateway.pages and Gateway.results.
	came, asked uint64

	position []byte // for a client that asks for positions: of the guild when the request came, as JSON

	whole bool  // a whole pool was asked for: if the cache has none of it, the backend is asked
	found bool  // the cache has some of the pool
	seen  idSet // sent or owed so far, if the pool has several pages

	// Owed to the client: members whose users are not cached, since users are sent first, and entities that are not
	// cached themselves.
	waiting, missing []string

	nonexistent []string // sent with the last part
	noUsers     bool     // the backend did not return users, and isn't asked again for this answer
	kept        []kept   // the workers' answers that are not sent yet
}

// kept is a worker's answer until it is sent.
type kept struct {
	release func()
	bytes   int
}

// answerPool answers a query, or returns the error that answers it.
func answerPool(t *task, q poolQuery, c *permissions.Claims, foreign bool) error {
	g := t.session.gateway
	a := &poolAnswer{task: t, gateway: g, query: q, claims: c}
	if q.positions {
		a.position = []byte("null")
	}
	if q.positions && !foreign { // before what is read, so that no event is missing between the two
		if p, known := g.positionOf(t.ctx, q.guild); known && !p.IsZero() {
			a.position = encode(p.String())
		}
	}
	a.came, a.asked = g.pages.enter(), g.results.enter()
	defer g.pages.leave()
	defer g.results.leave()
	defer a.letGo(0)
	return a.run(foreign)
}

func (a *poolAnswer) run(foreign bool) error {
	q := a.query
	switch {
	case foreign:
		a.nonexistent = q.ids
		return a.deliver(nil, true)
	case q.kind == typeGuild && q.request == requestAll:
		return a.byIDs(a.claims.Guilds())
	case q.kind == typeGuild:
		return a.byIDs(a.ownGuilds())
	case q.request == requestIDs:
		return a.byIDs(q.ids)
	case q.request == requestOnline:
		return a.scan(a.gateway.onlinePage)
	case q.request == requestSearch:
		return a.search()
	}
	a.whole = true
	return a.scan(a.gateway.poolPage)
}

// ownGuilds returns the requested guilds that the claims are a member of. The others count as nonexistent.
func (a *poolAnswer) ownGuilds() (mine []string) {
	for _, id := range a.query.ids {
		if _, member := a.claims.In(id); member {
			mine = append(mine, id)
		} else {
			a.nonexistent = append(a.nonexistent, id)
		}
	}
	return mine
}

// byIDs answers with the entities that have these ids: first those that are cached, then the backend's.
func (a *poolAnswer) byIDs(ids []string) error {
	for more := true; more; {
		chunk := ids[:min(len(ids), maxPart)]
		ids = ids[len(chunk):]
		more = len(ids) > 0
		if _, over, err := a.step(a.gateway.idsPage(a.query, chunk), 0, more); over || err != nil {
			return err
		}
	}
	return a.settle()
}

// scan answers with a pool that is read page by page.
func (a *poolAnswer) scan(read func(q poolQuery, cursor uint64) pageRead) error {
	next, over, err := a.step(read(a.query, 0), 0, false)
	if next != 0 && err == nil {
		// From here on the answer must remember what it has sent, so the long answers of a socket go one after another.
		s := a.task.session
		place := s.scans.enter()
		defer s.scans.leave(place)
		err = await(a.task.ctx, place)
	}
	for next != 0 && err == nil {
		if next, over, err = a.step(read(a.query, next), next, false); next == 0 {
			break
		}
		for err == nil && a.owed() >= maxPart {
			err = a.settleSome(false)
		}
	}
	switch {
	case over || err != nil:
		return err
	case a.whole && !a.found:
		return a.fromBackend()
	}
	return a.settle()
}

// step sends the cached entities of the page at a cursor, and notes the others as owed. more says that pages follow
// whatever the page says. next is the cursor of the next page. over reports whether the answer is complete.
func (a *poolAnswer) step(read pageRead, cursor uint64, more bool) (next uint64, over bool, err error) {
	leave, err := a.turn()
	if err != nil {
		return 0, false, err
	}
	defer leave()
	p, release, err := a.gateway.pages.get(a.task.ctx, read.question, a.came, read.read)
	if err != nil {
		return 0, false, poolError(err)
	}
	defer release()
	list, err := a.fresh(p, cursor)
	if err != nil {
		return 0, false, err
	}
	over = !more && p.next == 0 && a.owed() == 0 && (a.found || !a.whole)
	for len(list) > maxPart { // Redis returns a small hash whole, whatever COUNT says
		if err := a.send(list[:maxPart], usersOf(list[:maxPart]), false); err != nil {
			return 0, false, err
		}
		list = list[maxPart:]
		if err := a.room(); err != nil {
			return 0, false, err
		}
	}
	return p.next, over, a.send(list, usersOf(list), over)
}

// fresh returns the cached entities of a page that were not sent before, and notes the others as owed.
func (a *poolAnswer) fresh(p *page, cursor uint64) ([]entity, error) {
	a.found = a.found || len(p.list)+len(p.waiting)+len(p.missing) > 0
	if cursor == 0 && p.next == 0 {
		a.waiting, a.missing = append(a.waiting, p.waiting...), append(a.missing, p.missing...)
		return p.list, a.hold(idOverhead * (len(p.waiting) + len(p.missing)))
	}
	list, before := make([]entity, 0, len(p.list)), a.seen.bytes
	for _, e := range p.list {
		if a.seen.add(e.id) {
			list = append(list, e)
		}
	}
	a.waiting, a.missing = a.seen.appendNew(a.waiting, p.waiting), a.seen.appendNew(a.missing, p.missing)
	return list, a.hold(a.seen.bytes - before)
}

func (a *poolAnswer) owed() int { return len(a.waiting) + len(a.missing) }

// settle sends all that is owed, which ends the answer.
func (a *poolAnswer) settle() error {
	for a.owed() > maxPart {
		if err := a.settleSome(false); err != nil {
			return err
		}
	}
	return a.settleSome(true)
}

// settleSome asks the backend for what is owed, up to one part, and sends it.
func (a *poolAnswer) settleSome(last bool) error {
	defer a.letGo(0)
	var w, m []string
	w, a.waiting = cut(a.waiting, maxPart)
	m, a.missing = cut(a.missing, maxPart-len(w))
	list, gone, err := a.gateway.cached(a.task.ctx, a.query.guild, a.query.kind, w)
	if err != nil {
		return err
	}
	fetched, nonexistent, err := a.fetch(a.query.guild, a.query.kind, append(gone, m...))
	if err != nil {
		return err
	}
	if a.query.request != requestOnline { // somebody online who is no member has left
		a.nonexistent = append(a.nonexistent, nonexistent...)
	}
	return a.deliver(append(list, fetched...), last)
}

// fromBackend answers with the backend's whole pool.
func (a *poolAnswer) fromBackend() error {
	list, err := a.ask(botwire.MethodAll, poolArgs{Type: a.query.kind, GuildID: a.query.guild})
	if err != nil {
		return err
	}
	return a.deliver(list, true)
}

// deliver sends these entities. If last is set, it ends the answer.
func (a *poolAnswer) deliver(list []entity, last bool) error {
	for more := true; more; {
		part := list[:min(len(list), maxPart)]
		list = list[len(part):]
		more = len(list) > 0
		if err := a.deliverPart(part, last && !more); err != nil {
			return err
		}
	}
	return nil
}

func (a *poolAnswer) deliverPart(part []entity, last bool) error {
	defer a.letGo(len(a.kept))
	users, err := a.users(part)
	if err != nil {
		return err
	}
	leave, err := a.turn()
	if err != nil {
		return err
	}
	defer leave()
	return a.send(part, users, last)
}

// users returns the users of members. It leaves out those that it can't get: a list of members is of use without them,
// and the client knows whom to ask for again.
func (a *poolAnswer) users(members []entity) ([]entity, error) {
	if a.query.kind != typeMember || a.query.compat || len(members) == 0 {
		return nil, nil
	}
	list, missing, err := a.gateway.cached(a.task.ctx, "", typeUser, idsOf(members))
	if err != nil || len(missing) == 0 || a.noUsers {
		return list, err
	}
	fetched, _, err := a.fetch("", typeUser, missing)
	if a.task.ctx.Err() != nil {
		return nil, a.task.ctx.Err()
	}
	a.noUsers = err != nil
	return append(list, fetched...), nil
}

// fetch requests entities from the backend by their ids.
func (a *poolAnswer) fetch(guild, kind string, ids []string) (found []entity, nonexistent []string, err error) {
	if len(ids) == 0 {
		return nil, nil, nil
	}
	list, err := a.ask(botwire.MethodFetch, poolArgs{Type: kind, GuildID: guild, IDs: ids})
	if err != nil {
		return nil, nil, err
	}
	wanted := make(map[string]bool, len(ids))
	for _, id := range ids {
		wanted[id] = true
	}
	for _, e := range list {
		if wanted[e.id] {
			delete(wanted, e.id)
			found = append(found, e)
		}
	}
	for _, id := range ids {
		if wanted[id] {
			nonexistent = append(nonexistent, id)
		}
	}
	return found, nonexistent, nil
}

// ask sends a request to the backend, which all equal requests share. The caller must let go of the answer.
func (a *poolAnswer) ask(method string, args poolArgs) ([]entity, error) {
	ctx, cancel := context.WithTimeout(a.task.ctx, a.gateway.config.RequestTimeout)
	defer cancel()
	read := a.gateway.backendRead(method, args)
	list, release, err := a.gateway.results.get(ctx, read.question, a.asked, read.read)
	if err != nil {
		return nil, backendError(err)
	}
	bytes := sizeOf(list)
	if err := a.hold(bytes); err != nil {
		release()
		return nil, err
	}
	a.kept = append(a.kept, kept{release, bytes})
	return list, nil
}

// letGo releases the backend's answers from the n-th on.
func (a *poolAnswer) letGo(n int) {
	for _, k := range a.kept[n:] {
		k.release()
		_ = a.hold(-k.bytes) // never fails
	}
	a.kept = a.kept[:n]
}

// hold counts bytes that the answer holds while it waits. It fails if they exceed a bound.
func (a *poolAnswer) hold(bytes int) error {
	if bytes == 0 || a.task.slot.hold(bytes) {
		return nil
	}
	return errTooManyRequests()
}

// turn waits until it is this answer's turn to send, and the client has read most of what it was sent. Answers read
// nothing from the cache before, so that those that wait are small. It is woken, and does not poll.
func (a *poolAnswer) turn() (leave func(), err error) {
	s := a.task.session
	place := s.answering.enter()
	if err = await(a.task.ctx, place); err == nil {
		err = a.room()
	}
	if err != nil {
		s.answering.leave(place)
		return nil, err
	}
	return func() { s.answering.leave(place) }, nil
}

// room waits until the client has read most of what it was sent.
func (a *poolAnswer) room() error {
	return a.gateway.outlet.room(a.task.ctx, a.task.session.conn(), maxAhead)
}

// send sends one part, after the part with its users. It sends no empty part, unless it is the last. The caller has the
// turn.
func (a *poolAnswer) send(list, users []entity, last bool) error {
	t, q := a.task, a.query
	if q.compat {
		return a.sendCompat(list, last)
	}
	head := poolHead{ID: t.id, Type: q.kind, Position: a.position}
	if q.guild != "" {
		head.GuildID = &q.guild
	}
	if q.kind == typeMember && len(list) > 0 {
		of := poolHead{ID: t.id, Type: typeUser, Position: a.position}
		if !t.send(eventPoolResponse, of.body(users, nil, false)) {
			return context.Canceled
		}
	}
	switch {
	case last:
		t.finish(eventPoolResponse, head.body(list, a.nonexistent, true))
	case len(list) > 0 && !t.send(eventPoolResponse, head.body(list, nil, false)):
		return context.Canceled
	}
	return nil
}

// await waits until a place is closed, or returns the error of ctx.
func await(ctx context.Context, place <-chan struct{}) error {
	select {
	case <-place:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// cut returns the first n of a list and the rest.
func cut(list []string, n int) (first, rest []string) {
	n = min(len(list), n)
	return list[:n:n], list[n:]
}
