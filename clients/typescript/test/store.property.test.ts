import fc from "fast-check";
import { expect, test } from "vitest";
import type { EntityType, Position } from "../src/protocol.js";
import { Store, type Change, type Reading } from "../src/store.js";

// A model of a backend, a node and the way between them. The backend writes its cache and then publishes; the node
// reads pools entity by entity while that goes on; events and answers arrive when they like. Once all has arrived, the
// store must hold what the cache holds.

type Fields = Record<string, unknown>;
interface Sent {
  position: Position | null;
  changes: Change[];
}
interface Asked {
  reading: Reading;
  ids: string[] | null; // null: the whole pool
  left: string[] | null; // still to be read; null: the node has not begun
  position: Position | null;
  found: { id: string; value: Fields | null }[];
}

const type: EntityType = "member";
const ids = ["1", "2", "3"];

class World {
  readonly store = new Store();
  readonly cache = new Map<string, Fields>();
  readonly wire: Sent[] = []; // published and not arrived
  readonly asked: Asked[] = [];
  readonly mode: "durable" | "plain" | "mixed" | "shuffled";
  #published: Position | null = null;
  #clock = 0;
  #lost = false;

  constructor(mode: World["mode"]) {
    this.mode = mode;
  }

  write(id: string, what: "put" | "patch" | "drop", n: number): void {
    const before = this.cache.get(id);
    let change: Change;
    if (what === "drop") {
      this.cache.delete(id);
      change = { type, id, value: null };
    } else if (what === "patch" && before) {
      const fields: Fields = n % 2 ? { nick: n } : { color: n };
      this.cache.set(id, { ...before, ...fields });
      change = { type, id, value: fields as Change["value"], partial: true };
    } else {
      const value = { id, nick: n, color: -n, ...(n % 3 === 0 && { avatar: n }) };
      this.cache.set(id, value);
      change = { type, id, value: value as unknown as Change["value"] };
    }
    const plain = this.mode === "plain" || (this.mode === "mixed" && n % 2 === 0);
    const position = plain ? null : `${1790000000000 + Math.floor(++this.#clock / 3)}-${this.#clock % 3}`;
    this.#published = position ?? this.#published;
    this.wire.push({ position, changes: [change] });
  }

  arrive(which: number): void {
    if (this.wire.length === 0) return;
    const at = this.mode === "shuffled" ? which % this.wire.length : 0;
    const [event] = this.wire.splice(at, 1);
    this.store.apply(event!.changes, event!.position);
    // At least once is as good as once.
    if (this.mode === "shuffled" && which % 3 === 0) this.store.apply(event!.changes, event!.position);
  }

  lose(): void {
    if (this.wire.shift()) this.#lost = true;
  }

  resync(): void {
    this.#lost = false;
    this.ask(null);
  }

  /** A right is lost, and what may still be seen is asked for. */
  forget(): void {
    this.store.forget(type);
    expect(this.store.of(type).getSnapshot().size).toBe(0);
    this.#lost = false;
    this.ask(null);
  }

  ask(wanted: string[] | null): void {
    this.asked.push({ reading: this.store.read(), ids: wanted, left: null, position: null, found: [] });
  }

  /** One step of the node, or of the way of its answer. */
  read(which: number): void {
    const pool = this.asked[which % Math.max(1, this.asked.length)];
    if (!pool) return;
    if (pool.left === null) {
      pool.left = [...(pool.ids ?? ids)];
      const unread = which % 5 === 0 && this.mode !== "shuffled"; // the history can't be read
      pool.position = unread ? null : this.#published;
      return;
    }
    const id = pool.left.shift();
    if (id !== undefined) {
      pool.found.push({ id, value: this.cache.get(id) ?? null });
      return;
    }
    this.asked.splice(this.asked.indexOf(pool), 1);
    const data = pool.found.filter((f) => f.value).map((f) => f.value) as never[];
    const nonexistent = pool.ids ? pool.found.filter((f) => !f.value).map((f) => f.id) : [];
    const half = Math.floor(data.length / 2);
    const part = { type, guild_id: "1", position: pool.position } as const;
    pool.reading.part({ ...part, data: data.slice(0, half), nonexistent: [], finished: false });
    pool.reading.part({ ...part, data: data.slice(half), nonexistent, finished: true });
    if (!pool.ids) pool.reading.whole(type);
  }

  settle(): void {
    while (this.wire.length > 0) this.arrive(7);
    if (this.#lost) this.resync();
    while (this.asked.length > 0) this.read(1);
    while (this.wire.length > 0) this.arrive(7);
  }
}

type Step = (world: World) => void;

const id = fc.constantFrom(...ids);
const step: fc.Arbitrary<Step> = fc.oneof(
  { weight: 5, arbitrary: fc.tuple(id, fc.constantFrom("put", "put", "patch", "drop"), fc.nat(1000)).map(
    ([i, what, n]): Step => (w) => w.write(i, what as "put", n)) },
  { weight: 5, arbitrary: fc.nat(100).map((n): Step => (w) => w.arrive(n)) },
  { weight: 1, arbitrary: fc.constant<Step>((w) => w.ask(null)) },
  { weight: 1, arbitrary: fc.subarray(ids, { minLength: 1 }).map((some): Step => (w) => w.ask(some)) },
  { weight: 8, arbitrary: fc.nat(100).map((n): Step => (w) => w.read(n)) },
  { weight: 1, arbitrary: fc.constant<Step>((w) => w.forget()) },
);
const losses = fc.oneof(
  { weight: 8, arbitrary: step },
  { weight: 1, arbitrary: fc.constant<Step>((w) => w.lose()) },
  { weight: 1, arbitrary: fc.constant<Step>((w) => w.resync()) },
);

const shown = (w: World): object => Object.fromEntries([...w.store.of(type).getSnapshot()].sort());
const held = (w: World): object => Object.fromEntries([...w.cache].sort());

function converges(mode: World["mode"], steps: fc.Arbitrary<Step>): void {
  fc.assert(fc.property(fc.array(steps, { minLength: 1, maxLength: 60 }), (run) => {
    const world = new World(mode);
    world.ask(null);
    for (const each of run) each(world);
    world.settle();
    expect(shown(world)).toEqual(held(world));
  }), { numRuns: Number(process.env.RUNS ?? 1_000) });
}

test("converges with durable events", () => converges("durable", losses));
test("converges with plain events", () => converges("plain", losses));
test("converges with durable and plain events of one guild", () => converges("mixed", losses));
test("converges with durable events in any order, twice or once", () => converges("shuffled", step));

test("a snapshot never changes, and is the same until something does", () => {
  const world = new World("durable");
  const members = world.store.of(type);
  const empty = members.getSnapshot();
  expect(members.getSnapshot()).toBe(empty);
  world.write("1", "put", 1);
  world.arrive(0);
  const one = members.getSnapshot();
  expect(empty.size).toBe(0);
  expect(one.size).toBe(1);
  const ana = one.get("1");
  world.write("1", "patch", 3);
  world.arrive(0);
  expect(one.get("1")).toBe(ana);
  expect(ana).toMatchObject({ nick: 1 });
  expect(members.getSnapshot().get("1")).toMatchObject({ nick: 3 });
  world.store.apply([{ type: "role", id: "9", value: null }], null);
  expect(members.getSnapshot()).toBe(members.getSnapshot());
});
