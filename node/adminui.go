package node

import (
	"errors"

	"github.com/architus/guildcast/adapter"
	"github.com/architus/guildcast/node/internal/adminui"
)

// AdminUI is what the official Socket.IO admin UI may see of a node, and do.
type AdminUI struct {
	User         string // default "admin"
	PasswordHash string // of bcrypt; required
	Write        bool   // whether it may emit, and have sockets join, leave and disconnect

	// Production keeps sockets, rooms and events from it: it sees servers and numbers of connections, at less cost.
	Production bool
}

// addAdminUI serves the admin UI, if it is configured. It must come before the gateway, whose events it shows.
func (n *Node) addAdminUI() error {
	c := n.config.AdminUI
	if c == nil {
		return nil
	}
	if c.PasswordHash == "" {
		return wrong("admin-ui-password", errors.New("the admin UI needs a password"))
	}
	user := c.User
	if user == "" {
		user = defaultAdminUser
	}
	var err error
	n.adminUI, err = adminui.New(n.io, adminui.Options{
		Logger: n.config.Logger, User: user, PasswordHash: c.PasswordHash, Write: c.Write, Production: c.Production,
		Cluster: n.emitter(),
		Clients: func() (all, polling int) {
			s := n.engine.Stats()
			return s.Polling + s.WebSocket, s.Polling
		},
	})
	return wrong("admin-ui-password", err)
}

const defaultAdminUser = "admin"

// emitter reaches all servers of the cluster, as the node's adapter does.
func (n *Node) emitter() *adapter.Emitter {
	c := &n.config
	if c.Adapter == AdapterClassic {
		return adapter.NewEmitter(n.redis.Client, adapter.EmitterOptions{Key: c.AdapterKey, Bus: n.bus})
	}
	return adapter.NewShardedEmitter(n.redis.Client, adapter.ShardedEmitterOptions{
		ChannelPrefix: c.AdapterKey, SubscriptionMode: shardedModes[c.Adapter], Bus: n.bus,
	})
}
