import { describe, type Part } from './describe';
import type { Kind } from './policy';
import { nextFrame, Store } from './store';

/** How many events a feed holds; older ones are let go. */
export const feedSize = 10_000;

/** One line of the log view: an event, or a remark of the page's own between events. */
export interface Entry {
  seq: number; // counts up by one
  at: number; // ms
  kind: Kind;
  parts: Part[];
  name: string; // of the event; empty of a remark
  payload: unknown;
  position: string | null;
  caughtUp: boolean; // it happened while the page was away
  logs: boolean; // of the guild's log, in place of a change of its entities
  private: boolean;
  remark?: 'good' | 'bad';
}

/** The guild's events, oldest first. */
export class Feed extends Store<readonly Entry[]> {
  private seq = 0;
  private waiting: Entry[] = [];

  constructor() {
    super([]);
  }

  event(name: string, payload: unknown, position: string | null, caughtUp: boolean): Entry {
    const entry: Entry = {
      seq: ++this.seq, at: timeOf(position) ?? Date.now(), name, payload, position, caughtUp, logs: name === 'log_other',
      ...describe(name, payload),
    };
    this.push(entry);
    return entry;
  }

  remark(text: string, tone: 'good' | 'bad'): void {
    this.push({
      seq: ++this.seq, at: Date.now(), kind: 'guild', parts: [text], name: '', payload: null, position: null,
      caughtUp: false, logs: false, private: false, remark: tone,
    });
  }

  /** Events of one frame come into the list together, since all of it is copied for them. */
  private push(entry: Entry): void {
    this.waiting.push(entry);
    if (this.waiting.length === 1) nextFrame(() => this.flush());
    else if (this.waiting.length >= feedSize) this.flush(); // there may be no frame for long
  }

  private flush(): void {
    if (!this.waiting.length) return;
    const all = this.getSnapshot().concat(this.waiting);
    this.waiting = [];
    this.set(all.length > feedSize ? all.slice(all.length - feedSize) : all);
  }
}

/** How many events there were in each of the latest seconds, oldest first. */
export function perSecond(entries: readonly Entry[], now: number, seconds: number): number[] {
  const counts = Array.from({ length: seconds }, () => 0);
  const end = Math.floor(now / 1000);
  for (let i = entries.length - 1; i >= 0; i--) {
    const { at, remark } = entries[i] as Entry;
    const slot = seconds - (end - Math.floor(at / 1000)); // the second that has just begun is left out
    if (slot < 0) break;
    if (!remark && slot < seconds) counts[slot] = (counts[slot] ?? 0) + 1;
  }
  return counts;
}

/** The time in ms that a position holds: when Redis took the event. */
export function timeOf(position: string | null): number | undefined {
  const ms = position ? Number(position.split('-')[0]) : NaN;
  return Number.isFinite(ms) ? ms : undefined;
}

/** What people see of a sentence. */
export function plain(parts: readonly Part[], names: Names): string {
  return parts.map((part) => {
    if (typeof part === 'string') return part;
    if ('quote' in part) return `“${part.quote}”`;
    if ('code' in part) return part.code;
    if ('person' in part) return names.person(part.person);
    if ('account' in part) return names.account(part.account);
    if ('channel' in part) return names.channel(part.channel);
    if ('emoji' in part) return names.emoji(part.emoji);
    return names.role(part.role);
  }).join('');
}

/** Names of what events only have ids of. */
export interface Names {
  person(id: string): string;
  account(id: string): string; // without the nick
  channel(id: string): string;
  role(id: string): string;
  emoji(id: string): string;
}
