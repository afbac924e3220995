import { options } from 'preact';
import { useEffect, useReducer } from 'preact/hooks';

/** Something that changes: what React calls an external store. */
export interface Readable<T> {
  subscribe(listener: () => void): () => void;
  getSnapshot(): T;
}

/** A value that changes. Values are replaced, never changed in place. */
export class Store<T> implements Readable<T> {
  private readonly listeners = new Set<() => void>();

  constructor(private value: T) {}

  readonly getSnapshot = (): T => this.value;

  readonly subscribe = (listener: () => void): (() => void) => {
    this.listeners.add(listener);
    return () => this.listeners.delete(listener);
  };

  set(value: T): void {
    if (Object.is(value, this.value)) return;
    this.value = value;
    for (const listener of [...this.listeners]) listener();
  }
}

/** Runs work with the next frame. A hidden page has no frames, but is to be up to date when it is shown. */
export function nextFrame(work: () => void): void {
  if (document.hidden) setTimeout(work, 250);
  else requestAnimationFrame(() => work());
}

options.debounceRendering = nextFrame; // however many events come, the page is drawn once a frame

const increment = (n: number): number => n + 1;

/** The value of a store; the component is drawn again when it changes. */
export function useStore<T>(store: Readable<T>): T {
  const [, draw] = useReducer(increment, 0);
  useEffect(() => {
    draw(undefined);
    return store.subscribe(() => draw(undefined));
  }, [store]);
  return store.getSnapshot();
}

/** The time in ms, drawn again every so many ms. */
export function useClock(every: number): number {
  const [, draw] = useReducer(increment, 0);
  useEffect(() => {
    const timer = setInterval(() => draw(undefined), every);
    return () => clearInterval(timer);
  }, [every]);
  return Date.now();
}
