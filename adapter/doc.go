// Package adapter joins socket.io/v2 servers, Node.js servers and emitters into one cluster over Redis.
//
// [New] speaks the protocol of @socket.io/redis-adapter 7 and 8 (createAdapter), of socket.io-redis 5 and 6, and of
// the emitters in Node.js, Python, PHP, Java, Ruby and Go. [NewSharded] speaks that of createShardedAdapter, over
// sharded pub/sub. [NewEmitter] is for programs that only send.
//
//	opts := socket.DefaultServerOptions()
//	opts.SetAdapter(adapter.New(redis.NewClient(&redis.Options{Addr: "localhost:6379"}), adapter.Options{}))
//	io, handler := engine.NewServer(opts, engine.Options{})
//
// An adapter works on any server of zishang520/socket.io/v2; on one of package engine a message from Redis becomes
// client frames without passing through Go values.
package adapter
