import { nextFrame, Store } from './store';

/** Bounds of the latency histogram's bars in ms; the last bar is open. */
export const latencyBounds = [1, 2, 5, 10, 20, 50, 100, 250, 1000] as const;

/** What the page measures of a connection. */
export interface Measures {
  latency: readonly number[]; // events by bar of latencyBounds
  median: number | null; // ms
  caughtUp: number; // events that happened while the page was away
}

const mostRecent = 200;

/** Measures events. Those who look hear of it once a frame. */
export class Meter extends Store<Measures> {
  private readonly bars = [...latencyBounds.map(() => 0), 0];
  private readonly recent: number[] = []; // latencies of the latest events, each in the place of one that is older
  private measured = 0;
  private caughtUp = 0;
  private due = false;

  constructor() {
    super({ latency: [...latencyBounds.map(() => 0), 0], median: null, caughtUp: 0 });
  }

  /** An event came that happened at a time in ms, if that is known. */
  came(sent: number | undefined): void {
    if (sent === undefined) return;
    const ms = Math.max(0, Date.now() - sent);
    const bar = latencyBounds.findIndex((bound) => ms < bound);
    const i = bar < 0 ? latencyBounds.length : bar;
    this.bars[i] = (this.bars[i] ?? 0) + 1;
    this.recent[this.measured++ % mostRecent] = ms;
    this.tell();
  }

  /** An event came that was missed before. */
  missed(): void {
    this.caughtUp++;
    this.tell();
  }

  private tell(): void {
    if (this.due) return;
    this.due = true;
    nextFrame(() => {
      this.due = false;
      const sorted = [...this.recent].sort((a, b) => a - b);
      this.set({ latency: [...this.bars], median: sorted[sorted.length >> 1] ?? null, caughtUp: this.caughtUp });
    });
  }
}
