// Package redisurl opens the client of Redis that a URL names, or starts a Redis in this process.
package redisurl

import (
	"errors"
	"fmt"
	"net"
	"strings"
	"time"

	goredis "github.com/redis/go-redis/v9"
)

// Connection is a client of Redis and what must be closed with it.
type Connection struct {
	// Client is shared by all parts of the node. Deadlines of contexts apply to its commands.
	Client goredis.UniversalClient

	// Embedded is the host:port on which the embedded Redis listens; "" if the Redis is another process.
	Embedded string

	// Target names the Redis for logs: scheme and hosts, never a password.
	Target string

	// Hosts are the servers of the URL as host:port, of which one is enough to find the others; none of a Unix socket.
	Hosts []string

	embedded  *embedded
	sentinels *sentinels // nil without
	dialer    *dialer
}

// Connect returns a client for one of
//
//	embedded                   a Redis in this process on a free loopback port
//	embedded://127.0.0.1:6390  the same on a port of your choice
//	redis://[user:password@]host[:6379][/db]
//	unix://[user:password@]/path/to/redis.sock[?db=1]
//	redis+sentinel://[user:password@]host[:26379][,host...]/primary[/db]
//	redis+cluster://[user:password@]host[:6379][,host...]
//
// and the same with rediss for an encrypted connection (rediss+sentinel and rediss+cluster too). Options follow a
// question mark: db, pool_size, dial_timeout (2s), read_timeout (3s), write_timeout (3s), pool_timeout, client_name,
// protocol (3), password_file (name of a file) or password_command (name of a program that prints it), both asked for
// each connection, with Sentinel sentinel_username and sentinel_password, and with rediss ca, cert, key (file names),
// server_name and skip_verify. The files are read for each connection.
//
// Nothing is dialled yet: a Redis that is away is no error here. Errors never contain a password. Close ends the
// connection, and with it the embedded Redis.
func Connect(rawURL string) (*Connection, error) { return ConnectThrough(rawURL, nil) }

// ConnectThrough is Connect, with the servers reached by dial. Nil is the network.
func ConnectThrough(rawURL string, dial DialFunc) (*Connection, error) {
	t, err := parseURL(rawURL)
	if err != nil {
		return nil, err
	}
	c := &Connection{
		Target: t.scheme + "://" + strings.Join(t.options.Addrs, ","),
		dialer: newDialer(t.options.DialTimeout, t.options.TLSConfig, t.files),
	}
	if dial != nil {
		c.dialer.connect = dial
	}
	t.options.Dialer = c.dialer.dial
	if !t.unix {
		c.Hosts = t.options.Addrs
	}
	switch t.mode {
	case modeEmbedded:
		if c.embedded, err = startEmbedded(t.options.Addrs[0]); err != nil {
			return nil, err
		}
		c.Embedded = c.embedded.Addr()
		c.Target = "embedded://" + c.Embedded
		t.options.Addrs = []string{c.Embedded}
		c.Hosts = t.options.Addrs
		c.Client = goredis.NewClient(t.options.Simple())
	case modeSentinel:
		c.Target += "/" + t.options.MasterName
		// Its own dialer: what leads to a Sentinel leads nowhere else.
		c.sentinels = newSentinels(&t.options, newDialer(sentinelTime, t.options.TLSConfig, t.files))
		o := t.options.Simple()
		o.Addr, o.Dialer = "sentinel/"+t.options.MasterName, c.sentinels.dialer(c.dialer)
		c.Client = goredis.NewClient(o)
	case modeCluster:
		o := t.options.Cluster()
		o.NewClient = newClusterNode
		c.dialer.host, _, _ = net.SplitHostPort(o.Addrs[0])
		c.Client = goredis.NewClusterClient(o)
	default:
		o := t.options.Simple()
		if t.unix {
			o.Network = "unix"
		}
		c.Client = goredis.NewClient(o)
	}
	return c, nil
}

// Renew closes the connections that were made before since, those of the client's pool included: they may lead to a
// server that is no longer the one of the URL. Commands in progress on them fail, and are tried again where go-redis
// does so.
func (c *Connection) Renew(since time.Time) { c.dialer.renew(since) }

// Close closes the client, then the embedded Redis.
func (c *Connection) Close() error {
	err := c.Client.Close()
	if c.sentinels != nil {
		c.sentinels.close()
	}
	if errors.Is(err, goredis.ErrClosed) {
		err = nil
	}
	if c.embedded != nil {
		c.embedded.Close()
	}
	if err != nil {
		return fmt.Errorf("close redis client: %w", err)
	}
	return nil
}
