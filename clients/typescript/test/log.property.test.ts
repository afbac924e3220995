import fc from "fast-check";
import { expect, test } from "vitest";
import { Log } from "../src/log.js";
import type { LogAction } from "../src/protocol.js";

// A history of events, and a client that gets runs of it: live, replayed from a position, or a backlog after a gap.

const position = (n: number): string => `${n}-0`;

interface Run {
  how: "live" | "replay" | "backlog";
  missed: number; // published before it, while nobody listened
  reach: number; // how far back it begins
  count: number;
}

const run: fc.Arbitrary<Run> = fc.record({
  how: fc.constantFrom("live", "replay", "backlog"), missed: fc.nat(6), reach: fc.nat(10), count: fc.nat(5),
});

test("holds the latest entries in order, none twice, and marks where something is missing", () => {
  fc.assert(fc.property(fc.array(run, { maxLength: 20 }), fc.integer({ min: 3, max: 40 }), (runs, size) => {
    const log = new Log(size);
    const had = new Set<number>(); // what ever came
    let latest = 0; // that was published
    let seen = 0; // that came in order
    const give = (n: number, replayed: boolean): void => {
      had.add(n);
      seen = Math.max(seen, n);
      // Every third event is no log entry.
      if (n % 3 === 0) log.passed(position(n));
      else log.add({ name: "log_other", payload: { id: String(n) } as LogAction, position: position(n), replayed });
    };
    for (const { how, missed, reach, count } of runs) {
      if (how === "live") {
        for (let i = 0; i < count; i++) give(++latest, false);
        continue;
      }
      latest += missed;
      if (how === "replay") {
        for (let n = seen + 1; n <= latest; n++) give(n, true);
      } else {
        log.interrupted(seen === 0 ? null : position(seen));
        for (let n = Math.max(1, latest - reach); n <= latest; n++) give(n, true);
      }
    }
    const { entries, total } = log.getSnapshot();
    const numbers = entries.map((e) => Number(e.payload.id));
    expect(numbers).toEqual([...new Set(numbers)].sort((a, b) => a - b));
    expect(entries.length).toBeLessThanOrEqual(size);
    expect(total).toBeGreaterThanOrEqual(entries.length);
    expect(new Set(entries.map((e) => e.key)).size).toBe(entries.length);
    // The latest that came are there.
    const came = [...had].filter((n) => n % 3 !== 0).sort((a, b) => a - b);
    expect(numbers).toEqual(came.slice(-numbers.length || came.length));
    expect(numbers.length).toBe(Math.min(size, came.length));
    // Between two entries nothing is missing unless it is said.
    for (let i = 1; i < numbers.length; i++) {
      const between = Array.from({ length: numbers[i]! - numbers[i - 1]! - 1 }, (_, k) => numbers[i - 1]! + 1 + k);
      if (between.some((n) => n % 3 !== 0)) expect(entries[i]!.gapBefore).toBe(true);
    }
  }), { numRuns: Number(process.env.RUNS ?? 1_000) });
});

test("entries that no history holds stay where they came", () => {
  const log = new Log(10);
  const add = (id: string, at: string | null): void =>
    log.add({ name: "log_other", payload: { id } as LogAction, position: at, replayed: false });
  add("a", null);
  add("b", "1-0");
  add("c", null);
  add("d", "3-0");
  log.interrupted("3-0");
  add("late", "2-0");
  add("d", "3-0");
  add("e", null);
  const { entries } = log.getSnapshot();
  expect(entries.map((e) => e.payload.id)).toEqual(["a", "b", "c", "late", "d", "e"]);
  // A plain one may have been lost, whatever the history shows.
  expect(entries.map((e) => e.gapBefore)).toEqual([false, false, false, false, false, true]);
});

test("a snapshot never changes", () => {
  const log = new Log(2);
  const add = (n: number): void =>
    log.add({ name: "log_other", payload: { id: String(n) } as LogAction, position: position(n), replayed: false });
  let told = 0;
  const off = log.subscribe(() => told++);
  add(1);
  const one = log.getSnapshot();
  expect(log.getSnapshot()).toBe(one);
  add(2);
  add(3);
  expect(one.entries.map((e) => e.payload.id)).toEqual(["1"]);
  expect(log.getSnapshot().entries.map((e) => e.payload.id)).toEqual(["2", "3"]);
  expect(told).toBe(0); // all changes of a batch together
  off();
});
