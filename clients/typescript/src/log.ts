import { comparePositions } from "./position.js";
import type { LogAction, Position } from "./protocol.js";
import { Notifier, Source, type Readable } from "./readable.js";

export interface LogEntry {
  /** Unique in its log, for lists that need keys. */
  readonly key: number;
  /** The event's name: `log_other`, or one that its publisher gave it. */
  readonly name: string;
  readonly payload: LogAction;
  /** Null if the event was not durable. */
  readonly position: Position | null;
  /** When it came to this client, in ms since 1970. */
  readonly receivedAt: number;
  /** Whether it was published before this client spectated, or while it was away. */
  readonly replayed: boolean;
  /** Whether something before it may be missing that no node could give any more. */
  readonly gapBefore: boolean;
}

export interface LogSnapshot {
  /** Oldest first. */
  readonly entries: readonly LogEntry[];
  /** How many there ever were, those included that were dropped because the log is full. */
  readonly total: number;
}

/** What a display needs of a Log. */
export type EventLog = Readable<LogSnapshot>;

/**
 * The latest log entries of one guild, in the order of their positions, none twice. Nothing between two of them is
 * missing, except before an entry with `gapBefore`.
 */
export class Log implements EventLog {
  readonly #size: number;
  readonly #source: Source<LogSnapshot>;
  #entries: LogEntry[] = [];
  #total = 0;
  #gap = false; // something may be missing before the next entry
  #fresh = false; // whether no entry came since something may be missing
  #known: Position | null = null; // of the latest event before the gap
  #plain = false; // whether there are entries that no history holds

  constructor(size = 1_000, notifier = new Notifier()) {
    this.#size = Math.max(1, size);
    this.#source = new Source(notifier, () => ({ entries: this.#entries.slice(), total: this.#total }));
    this.subscribe = this.#source.subscribe;
    this.getSnapshot = this.#source.getSnapshot;
  }

  readonly subscribe: (listener: () => void) => () => void;
  readonly getSnapshot: () => LogSnapshot;

  /** Says that something after the position may be missing, unless what comes next reaches back to it. */
  interrupted(known: Position | null): void {
    if (this.#entries.length === 0) return;
    if (!this.#gap) this.#known = known;
    this.#gap = this.#fresh = true;
  }

  /** Takes note of an event of the guild that is no log entry: it may show that nothing is missing. */
  passed(position: Position | null): void {
    if (!this.#gap || this.#plain || position === null || this.#known === null) return;
    if (comparePositions(position, this.#known) <= 0) this.#gap = false;
  }

  add(entry: Omit<LogEntry, "key" | "gapBefore" | "receivedAt">): void {
    this.passed(entry.position);
    const entries = this.#entries;
    const { place, there } = this.#place(entry.position);
    // What comes is whole from its first entry on: a gap that was known lies before that one, if it is still there.
    const next = entries[place];
    const gapBefore = next ? next.gapBefore && this.#fresh : this.#gap;
    if (next?.gapBefore && !(there && this.#fresh)) entries[place] = { ...next, gapBefore: false };
    if (!next) this.#gap = false;
    this.#fresh = false;
    if (entry.position === null) this.#plain = true;
    const tooOld = place === 0 && entries.length >= this.#size;
    if (there || tooOld) return;
    entries.splice(place, 0, { ...entry, key: ++this.#total, receivedAt: Date.now(), gapBefore });
    if (entries.length > this.#size) entries.splice(0, entries.length - this.#size);
    this.#source.changed();
  }

  clear(): void {
    this.#gap = this.#fresh = this.#plain = false;
    this.#known = null;
    if (this.#entries.length === 0) return;
    this.#entries = [];
    this.#source.changed();
  }

  /** Returns where an entry belongs, or is already. Those without a position stay where they came. */
  #place(position: Position | null): { place: number; there: boolean } {
    let place = this.#entries.length;
    for (let i = place - 1; position !== null && i >= 0; i--) {
      const at = this.#entries[i]!.position;
      if (at === null) continue;
      const order = comparePositions(at, position);
      if (order === 0) return { place: i, there: true };
      if (order < 0) break;
      place = i;
    }
    return { place, there: false };
  }
}
