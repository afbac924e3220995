import type { AnyEntity, Entities, EntityType, EventKind, GuildEntityType, Position } from "./events.js";
import { checkGuild, onlineKey, poolKey, type GuildId } from "./names.js";
import type { Publisher } from "./publisher.js";
import type { Redis } from "./redis.js";
import { attempt, type RetryOptions } from "./retry.js";

/** An entity as clients get it. Only its id matters to nodes; of members and users they search the names. */
export type Entity<T extends EntityType = EntityType> = Entities[T] | AnyEntity;

export interface PoolsOptions {
  /** How commands are repeated while Redis is away. Repeating them is safe. */
  retry?: RetryOptions;
}

/** The kind of the event that says that an entity of a type has changed. */
const kinds: Record<EntityType, EventKind> = {
  member: "member", channel: "channel", role: "role", autoResponse: "auto_response", settingValue: "setting",
  user: "user", guild: "guild", customEmoji: "emoji",
};

/** How many entities one command writes, so that none holds Redis up. */
const batch = 500;

/**
 * Fills the pools that nodes answer from. A guild of null stands for entities that belong to none: users, guilds, and
 * emojis of no guild.
 */
export class Pools {
  readonly #redis: Redis;
  readonly #retry: RetryOptions | undefined;

  constructor(redis: Redis, options: PoolsOptions = {}) {
    this.#redis = redis;
    this.#retry = options.retry;
  }

  /** Writes entities without saying so to anybody: at the start, or if you publish events of your own after it. */
  async put<T extends EntityType>(guild: GuildId | null, type: T, ...entities: Entity<T>[]): Promise<void> {
    const fields = entities.map((entity): [string, string] => [idOf(entity), JSON.stringify(entity)]);
    for (const key of keysOf(guild, type)) {
      for (let i = 0; i < fields.length; i += batch) {
        const some = fields.slice(i, i + batch);
        await attempt(`write ${key}`, true, () => this.#redis.hSet(key, some), this.#retry);
      }
    }
  }

  /** Removes entities, likewise. */
  async remove(guild: GuildId | null, type: EntityType, ...ids: string[]): Promise<void> {
    for (const key of keysOf(guild, type)) {
      for (let i = 0; i < ids.length; i += batch) {
        const some = ids.slice(i, i + batch);
        await attempt(`remove from ${key}`, true, () => this.#redis.hDel(key, some), this.#retry);
      }
    }
  }

  /** Makes a pool hold these entities and no others: at the start of a bot that was away. Not in one step. */
  async replace<T extends GuildEntityType>(guild: GuildId, type: T, entities: Entity<T>[]): Promise<void> {
    await this.put(guild, type, ...entities);
    const keep = new Set(entities.map(idOf));
    const key = poolKey(guild, type);
    const have = await attempt(`read ${key}`, true, () => this.#redis.hKeys(key), this.#retry) as string[];
    await this.remove(guild, type, ...have.filter((id) => !keep.has(id)));
  }

  /**
   * Writes entities and then publishes that they have changed, durably, in the form of a pool_response: clients take
   * both through the same code. In this order, since a client that gets the event may ask for the pool at once.
   */
  async update<T extends EntityType>(
    publisher: Publisher, guild: GuildId, type: T, ...entities: Entity<T>[]
  ): Promise<Position> {
    await this.put(guild, type, ...entities);
    return publisher.publishDurably(guild, changed(guild, type, entities, []));
  }

  /** Removes entities and then publishes that they are gone, likewise. */
  async delete(publisher: Publisher, guild: GuildId, type: EntityType, ...ids: string[]): Promise<Position> {
    await this.remove(guild, type, ...ids);
    return publisher.publishDurably(guild, changed(guild, type, [], ids));
  }

  /** Marks members as online. */
  async setOnline(guild: GuildId, ...ids: string[]): Promise<void> {
    checkGuild(guild);
    if (!ids.length) return;
    await attempt("mark as online", true, () => this.#redis.sAdd(onlineKey(guild), ids), this.#retry);
  }

  /** Marks members as no longer online. */
  async setOffline(guild: GuildId, ...ids: string[]): Promise<void> {
    checkGuild(guild);
    if (!ids.length) return;
    await attempt("mark as offline", true, () => this.#redis.sRem(onlineKey(guild), ids), this.#retry);
  }
}

/** keysOf returns the pools of a guild's entity: users and guilds are in a global one, emojis in both. */
function keysOf(guild: GuildId | null, type: EntityType): string[] {
  if (!(type in kinds)) throw new TypeError(`there is no type of entities ${JSON.stringify(type)}`);
  if (guild !== null) checkGuild(guild);
  if (type === "user" || type === "guild") return [poolKey(null, type)];
  if (type === "customEmoji" && guild === null) return [poolKey(null, type)];
  if (type === "customEmoji") return [poolKey(guild, type), poolKey(null, type)];
  if (guild === null) throw new TypeError(`entities of type ${type} belong to a guild`);
  return [poolKey(guild, type)];
}

function changed(guild: GuildId, type: EntityType, data: Entity[], nonexistent: string[]) {
  return { kind: kinds[type], payload: { type, guild_id: guild, data, nonexistent } };
}

function idOf(entity: Entity): string {
  if (typeof entity?.id !== "string" || entity.id === "") throw new TypeError("an entity has an id, which is a string");
  return entity.id;
}
