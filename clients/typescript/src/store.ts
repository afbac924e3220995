import { comparePositions, later } from "./position.js";
import type { Entities, EntityType, Id, PoolResponse, Position } from "./protocol.js";
import { Notifier, Source, type Readable } from "./readable.js";

/** What an event says of one entity. */
export interface Change<T extends EntityType = EntityType> {
  type: T;
  id: Id;
  /** The whole entity, its new fields alone if `partial`, or null if it is gone. */
  value: Partial<Entities[T]> | null;
  partial?: boolean;
}

/** What a display needs of a Store. */
export interface EntityStore {
  /** Returns the entities of a type that are known, by id. Each type notifies of its own changes only. */
  of<T extends EntityType>(type: T): Readable<ReadonlyMap<Id, Entities[T]>>;
  get<T extends EntityType>(type: T, id: Id): Entities[T] | undefined;
}

type Fields = Record<string, unknown>;

/** What is known of one id. */
interface Entry {
  value: Fields | null; // null: it is gone, or only some fields are known
  at: Position | null; // of the latest durable event or pool that value has in it
  tick: number; // when that was applied here; of a pool, when it was asked for
  plain: number; // tick of the latest event without a position, 0 if something durable came after it
  patches: Patch[]; // of events that carried some fields only, oldest first, not known to be in value
}

const unknown = (): Entry => ({ value: null, at: null, tick: 0, plain: 0, patches: [] });

interface Patch {
  fields: Fields;
  at: Position | null;
  tick: number;
}

/** Most ids of a type whose absence is remembered, which keeps a pool that was read earlier from bringing them back. */
const mostAbsent = 10_000;

/**
 * Entities of one guild, from pools and events. What it holds is what the backend has, whatever the order in which both
 * arrive: it remembers for each entity the position that it has, and a pool counts as of the position at which it was
 * read.
 *
 * Events without a position (plain ones) are taken in the order of their arrival; they are newer than a pool that was
 * asked for before they came.
 */
export class Store implements EntityStore {
  readonly #types = new Map<EntityType, Table>();
  readonly #notifier: Notifier;
  #tick = 1;

  constructor(notifier = new Notifier()) {
    this.#notifier = notifier;
  }

  of<T extends EntityType>(type: T): Readable<ReadonlyMap<Id, Entities[T]>> {
    return this.#table(type).shown as Source<ReadonlyMap<Id, unknown>> as Source<ReadonlyMap<Id, Entities[T]>>;
  }

  get<T extends EntityType>(type: T, id: Id): Entities[T] | undefined {
    return this.of(type).getSnapshot().get(id);
  }

  /** Reports whether an entity is known, or that it is gone. */
  knows(type: EntityType, id: Id): boolean {
    const entry = this.#table(type).entries.get(id);
    return entry !== undefined && (entry.value !== null || entry.patches.length === 0);
  }

  /** Takes what an event says. The position is that of the event, or null. */
  apply(changes: readonly Change[], position: Position | null): void {
    const tick = ++this.#tick;
    for (const change of changes) this.#table(change.type).event(change, position, tick);
  }

  /** Begins to take the answer to a request for a pool. It is called before the request goes out. */
  read(): Reading {
    const tick = ++this.#tick;
    return new Reading(tick, (type) => {
      const table = this.#table(type);
      return table.forgotten < tick ? table : null;
    });
  }

  /** Forgets a type, or all: what was asked for before does not come back. */
  forget(...types: EntityType[]): void {
    const tick = ++this.#tick;
    for (const type of types.length > 0 ? types : this.types()) this.#table(type).forget(tick);
  }

  /** Returns the types of which something was ever known. */
  types(): EntityType[] {
    return [...this.#types.keys()];
  }

  #table(type: EntityType): Table {
    let table = this.#types.get(type);
    if (!table) this.#types.set(type, (table = new Table(this.#notifier)));
    return table;
  }
}

/** Takes the parts of one pool. */
export class Reading {
  readonly #tick: number;
  readonly #table: (type: EntityType) => Table | null;
  readonly #seen = new Map<EntityType, Set<Id>>();
  #at: Position | null = null;

  constructor(tick: number, table: (type: EntityType) => Table | null) {
    this.#tick = tick;
    this.#table = table;
  }

  part(part: PoolResponse): void {
    const at = part.position ?? null;
    this.#at ??= at;
    const table = this.#table(part.type);
    let seen = this.#seen.get(part.type);
    if (!seen) this.#seen.set(part.type, (seen = new Set()));
    for (const entity of part.data) {
      seen.add(entity.id);
      table?.pool(entity.id, entity as unknown as Fields, at, this.#tick);
    }
    for (const id of part.nonexistent) table?.pool(id, null, at, this.#tick);
  }

  /** Says that what has come is all that there is of a type: what has not is gone. */
  whole(type: EntityType): void {
    const table = this.#table(type);
    const seen = this.#seen.get(type);
    for (const id of [...(table?.entries.keys() ?? [])]) {
      if (!seen?.has(id)) table?.pool(id, null, this.#at, this.#tick);
    }
    table?.wasWhole(this.#at, this.#tick);
  }
}

/** The entities of one type. */
class Table {
  readonly entries = new Map<Id, Entry>();
  readonly shown: Source<ReadonlyMap<Id, unknown>>;
  forgotten = 0; // tick of the latest forget
  #whole: { at: Position | null; tick: number } | null = null; // what it did not hold then did not exist

  constructor(notifier: Notifier) {
    this.shown = new Source(notifier, () => {
      const shown = new Map<Id, unknown>();
      for (const [id, entry] of this.entries) if (entry.value) shown.set(id, entry.value);
      return shown;
    });
  }

  event(change: Change, at: Position | null, tick: number): void {
    const known = this.entries.get(change.id);
    const whole = this.#whole?.at ?? null;
    if (!known && at !== null && whole !== null && comparePositions(at, whole) <= 0) return;
    const entry = known ?? unknown();
    if (change.partial && change.value) {
      this.#patch(change.id, entry, { fields: change.value as Fields, at, tick });
      return;
    }
    if (stale(entry, at)) return;
    const since = at === null ? [] : entry.patches.filter((p) => p.at !== null && comparePositions(p.at, at) > 0);
    this.#put(change.id, entry, change.value as Fields | null, since, {
      at: later(at, entry.at), tick, plain: at === null ? tick : 0,
    });
  }

  pool(id: Id, value: Fields | null, at: Position | null, asked: number): void {
    const known = this.entries.get(id);
    if (!known && this.#whole && newer(this.#whole, at, asked)) return;
    const entry = known ?? unknown();
    if (newer(entry, at, asked) || entry.plain > asked) return;
    const since = entry.patches.filter((p) => newer(p, at, asked));
    this.#put(id, entry, value, since, {
      at: later(at, entry.at), tick: Math.max(asked, entry.tick), plain: 0,
    });
  }

  /** All was there that existed at a position, when it was asked for. */
  wasWhole(at: Position | null, asked: number): void {
    if (this.#whole && newer(this.#whole, at, asked)) return;
    this.#whole = { at: later(at, this.#whole?.at ?? null), tick: asked };
  }

  forget(tick: number): void {
    this.forgotten = tick;
    this.#whole = null;
    if (this.entries.size === 0) return;
    this.entries.clear();
    this.shown.changed();
  }

  /** Keeps a patch in the order of positions, and shows it if the rest of the entity is known. */
  #patch(id: Id, entry: Entry, patch: Patch): void {
    if (stale(entry, patch.at)) return;
    let place = entry.patches.length;
    for (; place > 0; place--) {
      const before = entry.patches[place - 1]!;
      if (patch.at === null || before.at === null || comparePositions(before.at, patch.at) <= 0) break;
    }
    entry.patches.splice(place, 0, patch);
    this.#put(id, entry, entry.value, entry.patches, {});
  }

  #put(id: Id, entry: Entry, value: Fields | null, patches: Patch[], facts: Partial<Entry>): void {
    for (const patch of value ? patches : []) value = { ...value, ...patch.fields };
    const changed = value !== entry.value;
    Object.assign(entry, facts, { value, patches: patches.slice(-mostPatches) });
    this.entries.set(id, entry);
    if (!value) this.#bound(id);
    if (changed) this.shown.changed();
  }

  #absent = 0; // at least as many as there are entries without a value

  #bound(id: Id): void {
    // The latest absence goes to the end of the map, so that the oldest ones are found first.
    const entry = this.entries.get(id)!;
    this.entries.delete(id);
    this.entries.set(id, entry);
    if (++this.#absent <= 2 * mostAbsent) return;
    const absent = [...this.entries].filter(([, e]) => !e.value);
    for (const [old] of absent.slice(0, -mostAbsent)) this.entries.delete(old);
    this.#absent = Math.min(absent.length, mostAbsent);
  }
}

/** Most patches that one entity keeps against a pool that was read before them. */
const mostPatches = 100;

/** Reports whether an entry has an event in it already. After a plain event only the order of arrival counts. */
function stale(entry: Entry, at: Position | null): boolean {
  return at !== null && entry.at !== null && entry.plain === 0 && comparePositions(at, entry.at) <= 0;
}

/** Reports whether something is newer than a pool read at a position, or asked for at a tick. */
function newer(known: { at: Position | null; tick: number }, at: Position | null, asked: number): boolean {
  if (known.at === null || at === null) return known.tick > asked;
  return (comparePositions(known.at, at) || known.tick - asked) > 0;
}
