// Package botwire owns the names and shapes that the gateway and the bot's backend share on Redis: keys, streams,
// channels, fields, replies, types of entities and the words of errors.
package botwire

import (
	"math/big"
	"strconv"

	"github.com/architus/guildcast/event"
)

const (
	// RepliesPrefix and a node's random name make the channel on which the node hears its answers.
	RepliesPrefix = "guildcast:replies:"

	// RevokeChannel carries revocations of tokens to every node.
	RevokeChannel = "guildcast:revoke"

	// RevocationsKey is a sorted set: the members are revocations, their scores the Unix milliseconds at which they
	// expire.
	RevocationsKey = "guildcast:revocations"

	requestsPrefix = "guildcast:requests:"
	poolPrefix     = "guildcast:pool:"
	onlinePrefix   = "guildcast:online:"
	historyPrefix  = "guildcast:history:"

	// noGuild stands for the guild in the keys of entities that belong to none.
	noGuild = "global"
)

// ServiceInterpret is the service that answers MethodInterpret.
const ServiceInterpret = "interpret"

// ServicePool returns the name of the service that answers the pool requests of one shard.
func ServicePool(shard int) string { return "pool:" + strconv.Itoa(shard) }

// RequestStream returns the name of the stream of a service's requests.
func RequestStream(service string) string { return requestsPrefix + service }

// Shard returns the shard of a guild: its id without the lowest 22 bits, modulo the number of shards, as Discord has
// it. It returns false if guild is no id.
func Shard(guild string, shards int) (shard int, ok bool) {
	if shards <= 0 || !event.ValidID(guild) {
		return 0, false
	}
	id, ok := new(big.Int).SetString(guild, 10) // 20 digits may be more than 64 bits
	if !ok {
		return 0, false
	}
	return int(id.Rsh(id, 22).Mod(id, big.NewInt(int64(shards))).Int64()), true
}

// PoolKey returns the key of the hash that caches the entities of one type of a guild, by id; guild is "" for those of
// no guild. It does not check its arguments: see ValidType and event.ValidID.
func PoolKey(guild, kind string) string {
	if guild == "" {
		guild = noGuild
	}
	return poolPrefix + "{" + guild + "}:" + kind
}

// OnlineKey returns the key of the set of the ids of a guild's members who are online.
func OnlineKey(guild string) string { return onlinePrefix + "{" + guild + "}" }

// HistoryKey returns the key of the stream that holds a guild's durable events. It is in the same slot of a Redis
// Cluster as the guild's sharded topics.
func HistoryKey(guild string) string { return historyPrefix + "{" + guild + "}" }
