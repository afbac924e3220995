import type { EntityType } from "./events.js";

/** A guild's id: a string of 1 to 20 digits. */
export type GuildId = string;

/** The names on Redis that nodes and backends share; docs/reference/redis.md lists them. */
export const revokeChannel = "guildcast:revoke";
export const revocationsKey = "guildcast:revocations";
export const poolKey = (guild: GuildId | null, type: EntityType) => `guildcast:pool:{${guild ?? "global"}}:${type}`;
export const onlineKey = (guild: GuildId) => `guildcast:online:{${guild}}`;
export const historyKey = (guild: GuildId) => `guildcast:history:{${guild}}`;
export const requestStream = (service: string) => `guildcast:requests:${service}`;

/** topicChannel returns the channel of a guild's events, or of its log entries. */
export function topicChannel(prefix: string, guild: GuildId, logs: boolean, sharded: boolean): string {
  return prefix + (sharded ? `{${guild}}` : guild) + (logs ? "_logs" : "");
}

export function checkGuild(guild: unknown): asserts guild is GuildId {
  if (typeof guild !== "string" || !/^[0-9]{1,20}$/.test(guild)) {
    throw new TypeError("a guild's id is a string of 1 to 20 digits");
  }
}
