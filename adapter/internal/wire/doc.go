// Package wire reads and writes what Socket.IO servers and emitters put on Redis: msgpack as notepack.io makes it, and
// JSON. Whatever the encoding, a received payload becomes a [Value]: a view of bytes that [Parse] has checked once, so
// that walking it can neither fail nor recurse without bound. Values are read with JavaScript's eyes (key coercion,
// undefined, dates), because that is how the peers read them.
//
// Nothing here decodes a payload into maps and interfaces on the path from Redis to a client: [Packet.Args] turns
// msgpack straight into the JSON text that a client receives.
package wire
