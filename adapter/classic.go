package adapter

import (
	"bytes"
	"strings"

	"github.com/redis/go-redis/v9"
	"github.com/zishang520/socket.io/v2/socket"

	"github.com/architus/guildcast/bus"
	"github.com/architus/guildcast/engine"
)

// Classic makes the adapters of a server's namespaces. It is a socket.AdapterConstructor.
type Classic struct {
	constructor
	opts Options // Static after construction.
}

// New returns the constructor of classic adapters, for socket.ServerOptions.SetAdapter. The caller closes client, after
// the server. New does not connect. Each namespace subscribes when it is made, waits a short time for Redis to confirm,
// and keeps trying in the background. See [Ready].
func New(client redis.UniversalClient, opts Options) *Classic {
	opts.setDefaults()
	return &Classic{opts: opts, constructor: constructor{
		client: client, requestsTimeout: opts.RequestsTimeout, times: defaultTimes(), logger: opts.Logger,
		given:      opts.Bus,
		busOptions: bus.Options{Logger: opts.Logger, OnState: opts.OnState, ProbePrefix: opts.Key + "-probe#"},
	}}
}

// New implements socket.AdapterConstructor.
func (c *Classic) New(nsp socket.Namespace) socket.Adapter {
	a := &classic{cluster: cluster{Adapter: engine.MakeAdapter()}, opts: c.opts}
	a.Prototype(a)
	a.Construct(nsp)
	a.init(a, &c.constructor, nsp, bus.Channel)
	a.subscribe()
	a.start()
	return a
}

// classic is the adapter of one namespace.
type classic struct {
	cluster

	// Static after subscribe.
	opts Options
	ask  string // channel of requests

	// Owned by the queue of broadcasts and requests.
	scratch  []byte
	selected selection
}

// subscribe names the channels, and subscribes to responses first: once requests are heard, this server is counted and
// asks others.
func (a *classic) subscribe() {
	a.uid, a.newID = randomID(6), func() string { return randomID(6) }
	a.base = a.opts.Key + "#" + a.nsp + "#"
	a.ask = a.opts.Key + "-request#" + a.nsp + "#"
	a.counted = a.ask
	a.answers = a.opts.Key + "-response#" + a.nsp + "#"
	a.isServer = func(uid string) bool { return !strings.Contains(uid, "#") }
	own := append([]byte{0x93, 0xa0 | byte(len(a.uid))}, a.uid...) // how our broadcasts begin
	a.isOwn = func(payload []byte) bool { return bytes.HasPrefix(payload, own) }
	a.ready = append(a.ready, a.told.Want(bus.Channel, a.answers, a.answers+a.uid+"#"))
	if a.opts.PatternSubscription {
		a.ready = append(a.ready, a.heard.Want(bus.Pattern, globEscape(a.base)+"*"))
	} else {
		a.rooms.owns, a.rooms.expect = func(string) bool { return true }, a.opts.Expect
		a.ready = append(a.ready, a.heard.Want(bus.Channel, a.base))
	}
	if a.opts.LegacyEmitter {
		a.ready = append(a.ready, a.heard.Want(bus.Channel, a.opts.Key+"#emitter"))
	}
	a.ready = append(a.ready, a.heard.Want(bus.Channel, a.ask))
}
