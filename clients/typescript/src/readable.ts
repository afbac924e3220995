/**
 * Something to display that changes. It fits React's `useSyncExternalStore`. Both functions may be passed on without
 * their object.
 */
export interface Readable<T> {
  /** Calls the listener after changes, once for all that came together. Returns what ends it. */
  readonly subscribe: (listener: () => void) => () => void;
  /** Returns the state of now. It never changes, and is the same object until there is another state. */
  readonly getSnapshot: () => T;
}

/** Runs flush soon: in a microtask, say, or before the browser paints. */
export type Batch = (flush: () => void) => void;

/** Tells subscribers of changes, all of one batch together. */
export class Notifier {
  readonly #batch: Batch;
  #dirty = new Set<() => void>();

  constructor(batch: Batch = queueMicrotask) {
    this.#batch = (flush) => batch(flush); // browsers refuse requestAnimationFrame as anybody's method
  }

  /** Calls notify in the next batch, once however often it is passed. */
  soon(notify: () => void): void {
    this.#dirty.add(notify);
    if (this.#dirty.size > 1) return;
    this.#batch(() => {
      const dirty = this.#dirty;
      this.#dirty = new Set();
      for (const each of dirty) each();
    });
  }
}

/** A Readable whose snapshot is built when somebody looks. */
export class Source<T> implements Readable<T> {
  readonly #build: () => T;
  readonly #notifier: Notifier;
  readonly #listeners = new Set<() => void>();
  #built: { snapshot: T } | null = null;

  constructor(notifier: Notifier, build: () => T) {
    this.#notifier = notifier;
    this.#build = build;
  }

  readonly subscribe = (listener: () => void): (() => void) => {
    const own = (): void => listener(); // the same function may subscribe twice
    this.#listeners.add(own);
    return () => void this.#listeners.delete(own);
  };

  readonly getSnapshot = (): T => (this.#built ??= { snapshot: this.#build() }).snapshot;

  changed(): void {
    this.#built = null;
    if (this.#listeners.size > 0) this.#notifier.soon(this.#notify);
  }

  readonly #notify = (): void => {
    for (const listener of [...this.#listeners]) listener();
  };
}
