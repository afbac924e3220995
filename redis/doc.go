// Package redis is everything that a gateway node asks of Redis: the event topics of guilds (Topics), requests to the
// bot's workers over streams (Requests), the entity cache (Entities) and the revoked tokens (Revocations).
//
// The files, in the order in which data passes through them:
//
//   - A guild's events: topics.go (subscriptions, and what comes on them), tail.go (durable events once and in order),
//     tailjoin.go (where a new subscription begins), tailloss.go (what may have been missed), probe.go (what pub/sub
//     lost unnoticed), repair.go (reads the history, and passes on what was missed).
//   - A pool: entities.go; from a worker: requests.go, streams.go (where the request goes), reply.go (what comes back).
//   - Revoked tokens: revocations.go (hears and sends them), revocationstore.go (keeps them in Redis).
//   - For all of them: ear.go (a subscription that lives as long as its owner), errors.go, refusals.go (logs what Redis
//     refuses).
//
// docs/reference/redis.md lists the keys, channels and streams, and the rights that they need.
// docs/reference/workers.md says how to write a worker.
package redis
