import type { Readable } from "../src/readable.js";

/** Returns the first state for which a test is true. */
export function when<T>(readable: Readable<T>, test: (state: T) => boolean): Promise<T> {
  return new Promise((resolve) => {
    const look = (): void => {
      const state = readable.getSnapshot();
      if (!test(state)) return;
      off();
      resolve(state);
    };
    const off = readable.subscribe(look);
    queueMicrotask(look);
  });
}
