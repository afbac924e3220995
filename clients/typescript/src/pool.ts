import type { Entities, EntityType, Id, PoolResponse, Position } from "./protocol.js";

/** What to ask a pool for. */
export interface PoolQuery<T extends EntityType = EntityType> {
  type: T;
  /** For the types that belong to a guild. */
  guild_id?: Id | null;
  /** By default `ids` where ids are given, else `all`. */
  request?: "ids" | "all" | "online" | "search";
  ids?: Id | readonly Id[];
  /** For `search`: of members and users. */
  query?: string;
  /** For `search`: 1 to 100; default 25. */
  limit?: number;
}

export interface PoolResult<T extends EntityType = EntityType> {
  readonly data: readonly Entities[T][];
  /** The users of those members, by id. */
  readonly users: ReadonlyMap<Id, Entities["user"]>;
  readonly nonexistent: readonly Id[];
  /** Up to where the guild's events are in `data`; null without a history. */
  readonly position: Position | null;
}

/** A part as it came; a part of users precedes the members that they belong to. */
export type PoolPart<T extends EntityType = EntityType> = PoolResponse<T | "user">;

type Start = (part: (part: PoolResponse) => void, signal?: AbortSignal) => Promise<void>;

/**
 * The answer to one `pool` request. Await it for all of it, or iterate over its parts as they come: `for await (const
 * part of client.pool(...))`. Leaving the loop gives the request up.
 */
export class PoolAnswer<T extends EntityType> implements PromiseLike<PoolResult<T>>, AsyncIterable<PoolPart<T>> {
  readonly #parts: PoolPart<T>[] = [];
  readonly #done: Promise<void>;
  readonly #type: T;
  readonly #giveUp = new AbortController();
  #settled = false;
  #error: unknown = null;
  #wake: () => void = () => {};
  #news: Promise<void>;

  constructor(type: T, start: Start) {
    this.#type = type;
    this.#news = this.#nextNews();
    this.#done = start((part) => {
      this.#parts.push(part as PoolPart<T>);
      this.#tell();
    }, this.#giveUp.signal);
    this.#done.then(() => this.#settle(null), (e: unknown) => this.#settle(e));
  }

  then<A = PoolResult<T>, B = never>(
    fulfilled?: ((result: PoolResult<T>) => A | PromiseLike<A>) | null,
    rejected?: ((e: unknown) => B | PromiseLike<B>) | null,
  ): Promise<A | B> {
    return this.#done.then(() => this.#result()).then(fulfilled, rejected);
  }

  catch<B = never>(rejected?: ((e: unknown) => B | PromiseLike<B>) | null): Promise<PoolResult<T> | B> {
    return this.then(null, rejected);
  }

  finally(settled?: (() => void) | null): Promise<PoolResult<T>> {
    return this.then().finally(settled);
  }

  async *[Symbol.asyncIterator](): AsyncGenerator<PoolPart<T>, void, undefined> {
    try {
      for (let i = 0; ; i++) {
        while (i >= this.#parts.length && !this.#settled) await this.#news;
        const part = this.#parts[i];
        if (part) yield part;
        else if (this.#error) throw this.#error;
        else return;
      }
    } finally {
      if (!this.#settled) this.#giveUp.abort();
    }
  }

  #result(): PoolResult<T> {
    const data: Entities[T][] = [], nonexistent: Id[] = [], users = new Map<Id, Entities["user"]>();
    for (const part of this.#parts) {
      if (part.type === this.#type) data.push(...(part.data as Entities[T][]));
      else for (const user of part.data as Entities["user"][]) users.set(user.id, user);
      nonexistent.push(...part.nonexistent);
    }
    return { data, users, nonexistent, position: this.#parts[0]?.position ?? null };
  }

  #settle(e: unknown): void {
    this.#settled = true;
    this.#error = e;
    this.#tell();
  }

  #tell(): void {
    const wake = this.#wake;
    this.#news = this.#nextNews();
    wake();
  }

  #nextNews(): Promise<void> {
    return new Promise((resolve) => (this.#wake = resolve));
  }
}
