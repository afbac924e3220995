// Package redis is everything that a gateway node asks of Redis: the event topics of guilds (Topics), requests to the
// bot's workers over streams (Requests), the entity cache (Entities) and the tokens that were taken back (Revocations).
// Connect opens the client that they share, and can run a Redis of its own in this process for demonstrations.
//
// The keys, channels and streams, and the rights that they need, are listed in docs/reference/redis.md; how to write a
// worker is in docs/reference/workers.md.
package redis
