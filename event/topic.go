package event

import "strings"

// Topic is one of the two event streams of a guild.
type Topic struct {
	Guild string // 1 to 20 digits
	Logs  bool   // the stream of log entries, <guild_id>_logs
}

const logsSuffix = "_logs"

// Channel returns the Redis channel of t under a deployment's prefix, which is usually empty.
func (t Topic) Channel(prefix string) string {
	if t.Logs {
		return prefix + t.Guild + logsSuffix
	}
	return prefix + t.Guild
}

// ParseChannel is the inverse of Channel: it returns the topic of a channel, and false if the channel is not a topic
// under that prefix.
func ParseChannel(prefix, channel string) (Topic, bool) {
	name, ok := strings.CutPrefix(channel, prefix)
	if !ok {
		return Topic{}, false
	}
	guild, logs := strings.CutSuffix(name, logsSuffix)
	return Topic{Guild: guild, Logs: logs}, ValidID(guild)
}

// ShardedChannel returns the sharded channel of t under a deployment's prefix. On a Redis Cluster it is in the slot of
// the guild's other keys.
func (t Topic) ShardedChannel(prefix string) string {
	name := prefix + "{" + t.Guild + "}"
	if t.Logs {
		name += logsSuffix
	}
	return name
}

// ParseShardedChannel is the inverse of ShardedChannel, as ParseChannel is of Channel.
func ParseShardedChannel(prefix, channel string) (Topic, bool) {
	name, ok := strings.CutPrefix(channel, prefix)
	name, logs := strings.CutSuffix(name, logsSuffix)
	if !ok || len(name) < 2 || name[0] != '{' || name[len(name)-1] != '}' {
		return Topic{}, false
	}
	guild := name[1 : len(name)-1]
	return Topic{Guild: guild, Logs: logs}, ValidID(guild)
}

// ValidID reports whether s is written as a Snowflake or HoarFrost id: 1 to 20 digits.
func ValidID(s string) bool {
	if len(s) == 0 || len(s) > 20 {
		return false
	}
	for i := 0; i < len(s); i++ {
		if s[i] < '0' || s[i] > '9' {
			return false
		}
	}
	return true
}

// AuthRoom returns the room that the socket with this id joins while it is elevated.
func AuthRoom(socketID string) string { return socketID + authSuffix }

// IsAuthRoom reports whether room has the form of an AuthRoom.
func IsAuthRoom(room string) bool { return strings.HasSuffix(room, authSuffix) }

const authSuffix = "_auth"
