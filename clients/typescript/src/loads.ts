import { Backoff } from "./backoff.js";
import { asError, GuildcastError, localError } from "./error.js";
import type { EntityType, Id, PoolResponse } from "./protocol.js";
import type { Store } from "./store.js";

/** Asks for a pool. `part` gets each part at once. */
export type Ask = (query: object, part: (part: PoolResponse) => void) => Promise<void>;

/** Most ids of one request, and most that are kept right. */
const mostIds = 1_000, mostKept = 10_000;

/** The pools of a guild that are on display: it loads them, and again when they may be wrong. */
export class Loads {
  readonly #store: Store;
  readonly #guildId: Id;
  readonly #ask: Ask;
  readonly #changed: () => void;
  readonly #whole = new Map<EntityType, Pool>();
  readonly #ids = new Map<EntityType, Pool>();
  #running = false; // whether events come, and requests can go out
  #waiting: { resolve(): void; reject(e: GuildcastError): void }[] = []; // for that

  constructor(store: Store, guildId: Id, ask: Ask, changed: () => void) {
    this.#store = store;
    this.#guildId = guildId;
    this.#ask = ask;
    this.#changed = changed;
  }

  /** Loads a whole pool, as soon as that is possible. */
  load(type: EntityType): Promise<void> {
    let pool = this.#whole.get(type);
    if (pool && !pool.refused) return pool.done;
    if (pool) pool.renew();
    else this.#whole.set(type, (pool = new Pool(type, null)));
    this.#changed();
    if (this.#running) void this.#run(pool);
    return pool.done;
  }

  /** Loads those of the ids that are not known, once events come: what was read before could change unheard. */
  async fetch(type: EntityType, ids: Iterable<Id>): Promise<void> {
    const all = [...new Set(ids)];
    const unknown = (): Id[] => all.filter((id) => !this.#store.knows(type, id));
    if (unknown().length === 0) return;
    if (!this.#running) await new Promise<void>((resolve, reject) => this.#waiting.push({ resolve, reject }));
    const wanted = unknown();
    if (wanted.length === 0) return;
    let pool = this.#ids.get(type);
    if (!pool) this.#ids.set(type, (pool = new Pool(type, new Set())));
    for (const id of wanted) pool.ids!.add(id);
    for (const id of [...pool.ids!].slice(0, -mostKept)) pool.ids!.delete(id);
    try {
      await this.#read(type, wanted);
    } catch (e) {
      pool.due ||= asError(e, ["pool"]).code === 403; // the right may come
      throw e;
    }
  }

  /** Reports whether pools of a type are asked for. */
  has(type: EntityType): boolean {
    return this.#whole.has(type) || this.#ids.has(type);
  }

  types(loaded: boolean): EntityType[] {
    return [...this.#whole.values()].filter((pool) => pool.loaded === loaded && !pool.refused).map((pool) => pool.type);
  }

  /** Requests can go out, or rights have changed: loads what is not loaded yet, and what was refused. */
  start(): void {
    this.#running = true;
    for (const { resolve } of this.#waiting.splice(0)) resolve();
    for (const pool of this.#all()) if (pool.due || pool.busy) void this.#run(pool);
  }

  /** Requests can't go out. */
  stop(): void {
    this.#running = false;
    for (const pool of this.#all()) clearTimeout(pool.timer);
  }

  /** What was loaded may be wrong: it counts as not loaded. */
  invalidate(): void {
    for (const pool of this.#all()) {
      pool.due = true;
      pool.loaded = false;
    }
    this.#changed();
  }

  /** Ends all that is in progress. */
  end(error: GuildcastError): void {
    this.stop();
    for (const { reject } of [...this.#all(), ...this.#waiting.splice(0)]) reject(error);
  }

  *#all(): Iterable<Pool> {
    yield* this.#whole.values();
    for (const pool of this.#ids.values()) if (!this.#whole.get(pool.type)) yield pool;
  }

  /** Loads one pool, and once more if it became invalid meanwhile. */
  async #run(pool: Pool): Promise<void> {
    clearTimeout(pool.timer);
    if (pool.busy) return void (pool.again = true);
    if (pool.refused) pool.renew();
    pool.busy = true;
    try {
      while (this.#running && pool.due) {
        pool.due = pool.again = false;
        await this.#read(pool.type, pool.ids && [...pool.ids]);
        pool.backoff.reset();
      }
      pool.loaded = !pool.due;
      if (pool.loaded) pool.resolve();
    } catch (e) {
      pool.due = true;
      this.#failed(pool, asError(e, ["pool"]));
    } finally {
      pool.busy = false;
      this.#changed();
    }
  }

  #failed(pool: Pool, error: GuildcastError): void {
    const unelevated = error.code === 401 || error.code === 409;
    if (!this.#running || unelevated || error.word === "disconnected") return; // start follows
    const old = error.code === 403 && pool.again; // it was refused for want of a right that may be there by now
    if (error.temporary || old) {
      pool.timer = setTimeout(() => void this.#run(pool), pool.backoff.next());
      return;
    }
    if (error.code === 403) {
      pool.refused = true; // until the rights change
      this.#store.forget(pool.type);
    } else {
      this.#whole.delete(pool.type);
    }
    pool.reject(error);
  }

  /** Reads a whole pool, or the entities with these ids, into the store. */
  async #read(type: EntityType, ids: Id[] | null): Promise<void> {
    if (type === "guild") ids ??= [this.#guildId]; // the pool holds all guilds of the claims
    const query = { type, positions: true, ...(type !== "guild" && type !== "user" && { guild_id: this.#guildId }) };
    if (ids === null) {
      const reading = this.#store.read();
      await this.#ask({ ...query, request: "all" }, (part) => reading.part(part));
      reading.whole(type);
      return;
    }
    for (let i = 0; i < ids.length; i += mostIds) {
      const reading = this.#store.read();
      await this.#ask({ ...query, request: "ids", ids: ids.slice(i, i + mostIds) }, (part) => reading.part(part));
    }
  }
}

/** One pool on display: whole, or some of its ids. */
class Pool {
  readonly type: EntityType;
  readonly ids: Set<Id> | null;
  readonly backoff = new Backoff({ first: 1_000 });
  due = true; // to be read
  loaded = false; // read, and right since
  refused = false; // the right to it is missing
  busy = false;
  again = false; // there was a reason to read it while it was busy
  timer: ReturnType<typeof setTimeout> | undefined;
  done!: Promise<void>; // once it is loaded, or refused
  resolve!: () => void;
  reject!: (e: GuildcastError) => void;

  constructor(type: EntityType, ids: Set<Id> | null) {
    this.type = type;
    this.ids = ids;
    if (ids) this.due = false; // fetch asks for them
    this.renew();
  }

  /** It is asked for anew. */
  renew(): void {
    this.refused = false;
    this.done = new Promise((resolve, reject) => {
      this.resolve = resolve;
      this.reject = reject;
    });
    this.done.catch(() => {}); // the view's state says it too
  }
}

/** The error of requests of a view that has ended. */
export const endedError = (): GuildcastError => localError("closed", "The guild is no longer spectated.", ["spectate"]);
