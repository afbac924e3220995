package adapter

import (
	"github.com/zishang520/socket.io-go-parser/v2/parser"
	"github.com/zishang520/socket.io/v2/socket"
)

// Broadcast sends p to the sockets that opts selects, on all servers. It never waits for Redis.
func (c *cluster) Broadcast(p *parser.Packet, opts *socket.BroadcastOptions) {
	if isLocal(opts) {
		c.Adapter.Broadcast(p, opts)
		return
	}
	p, err := replayable(p)
	if err == nil {
		err = c.protocol.send(message{kind: broadcast, data: p.Data, opts: wireOptions(opts)})
	}
	if err != nil {
		c.unsent("broadcast", err)
	}
	c.Adapter.Broadcast(p, opts)
}

// BroadcastWithAck is Broadcast for an event that clients acknowledge. It calls clientCount with the number of clients
// of each server, and ack with one value of each client. opts has the timeout. The library ends the wait.
func (c *cluster) BroadcastWithAck(
	p *parser.Packet, opts *socket.BroadcastOptions, clientCount func(uint64), ack socket.Ack,
) {
	r := newAckRequest(opts, clientCount, ack, c.logger, &c.wg)
	r.expired = func() { c.expired(r) }
	c.counting.hold(c.run, r, isLocal(opts))
	if err := c.askClients(p, opts, r); err != nil {
		c.unsent("broadcast with acknowledgement", err)
	}
}

// askClients sends a packet to clients of all servers, or with the local flag of this one. The error concerns the other
// servers.
func (c *cluster) askClients(p *parser.Packet, opts *socket.BroadcastOptions, r *ackRequest) (err error) {
	if !isLocal(opts) {
		if p, err = replayable(p); err == nil {
			err = c.sendAckRequest(p, opts, r)
		}
	}
	c.Adapter.BroadcastWithAck(p, opts, r.count, r.local)
	return err
}

func (c *cluster) sendAckRequest(p *parser.Packet, opts *socket.BroadcastOptions, r *ackRequest) error {
	m := message{kind: broadcast, id: c.newID(), data: p.Data, opts: wireOptions(opts)}
	timeout := c.requestsTimeout
	if m.opts.Flags.Timeout > 0 {
		timeout = m.opts.Flags.Timeout
	}
	c.acks.open(m.id, r, timeout)
	err := c.protocol.send(m)
	if err != nil {
		c.acks.drop(m.id)
	}
	return err
}

// finish forgets an acknowledged broadcast. If fewer than want other servers have answered, it counts that and returns
// the ids of the missing ones.
func (c *cluster) finish(r *ackRequest, want int) (absent []string) {
	c.acks.drop(r.id)
	got := r.servers()
	c.count.responses.Add(uint64(len(got)))
	if len(got) >= want {
		return nil
	}
	c.count.incomplete.Add(1)
	return missing(c.peers(), c.uid, got)
}

// expired logs which servers did not answer a broadcast of the library's operator, whose error does not name them.
func (c *cluster) expired(r *ackRequest) {
	want := int(c.servers.Load()) - 1
	if absent := c.finish(r, want); len(r.servers()) < want {
		c.logger.Warn("servers did not answer a broadcast with acknowledgement", "namespace", c.nsp,
			"got", len(r.servers()), "want", want, "missing", absent)
	}
}
