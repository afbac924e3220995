/** Listeners of typed events, called in the order in which they came. */
export class Emitter<Events extends { [K in keyof Events]: unknown[] }> {
  readonly #listeners: { [E in keyof Events]?: Set<(...args: Events[E]) => void> } = {};

  /** Returns what takes the listener away. */
  on<E extends keyof Events>(event: E, listener: (...args: Events[E]) => void): () => void {
    const own = (...args: Events[E]): void => listener(...args);
    const of = (this.#listeners[event] ??= new Set());
    of.add(own);
    return () => void of.delete(own);
  }

  /** One listener that throws keeps nothing from the others: what it threw is reported as uncaught. */
  emit<E extends keyof Events>(event: E, ...args: Events[E]): void {
    for (const listener of [...(this.#listeners[event] ?? [])]) {
      try {
        listener(...args);
      } catch (e) {
        queueMicrotask(() => {
          throw e;
        });
      }
    }
  }
}
