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
// An adapter works on any server of zishang520/socket.io/v2. On a server of package engine, a message from Redis
// becomes client frames without being decoded into Go values.
package adapter

// The files, in the order in which an event passes through them. Those that begin with classic_ or sharded_ belong to
// one protocol, the others to both.
//
// A server joins the cluster:
//
//	classic_options, sharded_options   what the application may set
//	classic, sharded                   the constructors, and the channels of a namespace
//	constructor, pubsub, ids           what the namespaces of a constructor share: the connection, counters, waits
//	cluster                            a namespace in the cluster: start, Ready, Close
//	servers                            how many servers there are, which, and whether one has left
//
// What is asked: the application calls, a message goes out, answers come back:
//
//	message                            what one server tells or asks the others
//	broadcast, replay, convert         an event to clients, with or without acknowledgement
//	emitack, acks, countbarrier        the acknowledgements of clients on all servers
//	command                            sockets that join, leave or disconnect, wherever they are
//	request, pending                   questions to the other servers, and what waits for their answers
//	classic_send, sharded_send         the message on Redis
//	classic_answers, sharded_answers   the answers of other servers
//	remote                             a socket of another server
//	errors                             what a caller gets
//	emitter                            the same without a server
//
// What is served: a message comes in, local sockets and listeners get it, an answer goes out:
//
//	rooms                              the channels of the rooms that have members here
//	receive                            every message, from the bus to the protocol
//	classic_receive, sharded_receive   a broadcast, to local sockets (classic_selection)
//	classic_serve, sharded_serve       a command or question, read; classic_legacy: those of socket.io-redis 5
//	serve, describe                    a command or question, done
//	lane                               the listeners of the application, one after the other
//	classic_respond, sharded_respond   the answer on Redis
//	strange, stats                     what is not understood, and all that is counted
