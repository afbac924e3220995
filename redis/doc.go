// Package redis is everything that a gateway node asks of Redis: the event topics of guilds (Topics), requests to the
// bot's workers over streams (Requests), the entity cache (Entities) and the revoked tokens (Revocations).
//
// docs/reference/redis.md lists the keys, channels and streams, and the rights that they need.
// docs/reference/workers.md says how to write a worker.
package redis
