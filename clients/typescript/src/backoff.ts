export interface BackoffOptions {
  /** Most that the first wait takes, in ms; default 500. */
  first?: number;
  /** Most that any wait takes, in ms; default 30,000. */
  most?: number;
}

/** Waits that double. Half of each is random, so that the clients of a node that ended do not come back as one. */
export class Backoff {
  readonly #first: number;
  readonly #most: number;
  attempt = 0;

  constructor({ first = 500, most = 30_000 }: BackoffOptions = {}) {
    this.#first = first;
    this.#most = most;
  }

  /** Returns the next wait in ms. */
  next(): number {
    const bound = Math.min(this.#most, this.#first * 2 ** Math.min(this.attempt++, 30));
    return Math.round(bound * (0.5 + Math.random() / 2));
  }

  reset(): void {
    this.attempt = 0;
  }
}
