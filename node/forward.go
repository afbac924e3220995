package node

import (
	"context"

	"github.com/architus/guildcast/node/internal/forward"
)

// addForwarder has requests of other nodes' sessions passed on, if there can be other nodes.
func (n *Node) addForwarder() error {
	c := &n.config
	if c.Advertise != "" && c.Advertise != AdvertiseOff {
		if err := forward.CheckURL(c.Advertise); err != nil {
			return wrong("advertise", err)
		}
	}
	// An embedded Redis is that of one node, mostly.
	if c.Advertise == AdvertiseOff || c.Advertise == "" && n.redis.Embedded != "" {
		return nil
	}
	secrets := clusterSecrets(c)
	if len(secrets) == 0 {
		c.Logger.Warn("requests of other nodes' sessions are not passed on: that needs a cluster secret")
		return nil
	}
	var err error
	n.forward, err = forward.New(n.redis.Client, forward.Options{
		Logger: c.Logger, URL: c.Advertise, Redis: n.redis.Hosts, TLS: n.live.Load().certificate != nil,
		Secrets: secrets, Proxies: n.proxies(),
	})
	return err
}

// clusterSecrets are what nodes trust each other by.
func clusterSecrets(c *Config) (secrets [][]byte) {
	if c.ClusterSecret != "" {
		return [][]byte{[]byte(c.ClusterSecret)}
	}
	for _, s := range c.JWTSecrets {
		if s.Guilds == nil { // else it is the demo's, which no other node has
			secrets = append(secrets, s.Key)
		}
	}
	return secrets
}

// announce makes the node known to the others before it serves, so that they find who has its sessions.
func (n *Node) announce(ctx context.Context) {
	if err := n.forward.Announce(ctx); err != nil {
		n.config.Logger.Warn("other nodes can't pass requests on to this one yet", "err", err)
	}
}

// forwardStats are what is counted of requests that are passed on.
func (n *Node) forwardStats(emit emitFunc) {
	if n.forward == nil {
		return
	}
	s := n.forward.Stats()
	for _, o := range []struct {
		outcome string
		count   uint64
	}{
		{"answered", s.Forwarded}, {"unknown", s.Unknown}, {"unreachable", s.Unreachable}, {"refused", s.Refused},
	} {
		emit("forwarded_total", "Requests of other nodes' sessions, by what became of them.", true, float64(o.count),
			label{"outcome", o.outcome})
	}
	emit("forward_served_total", "Requests that other nodes have passed on to this one.", true, float64(s.Served))
	emit("forward_forged_total", "Requests that came as if from a node and were refused.", true, float64(s.Forged))
	emit("forward_websockets", "WebSockets of clients that lead to another node.", false, float64(s.WebSockets))
}
