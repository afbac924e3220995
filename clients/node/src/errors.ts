/** The root of all errors that this package throws, so that one catch can have them. */
export class GuildcastError extends Error {
  override name = "GuildcastError";
}

/** The event would be dropped by every node, or by Redis. Nothing was published. */
export class InvalidEventError extends GuildcastError {
  override name = "InvalidEventError";
}

/**
 * Redis answered, and refused: a right is missing (NOPERM), a key has another type (WRONGTYPE), memory is full (OOM).
 * Repeating does not help before an operator acts.
 */
export class RedisRefusedError extends GuildcastError {
  override name = "RedisRefusedError";
}

/** Redis could not be reached, or did not answer, as long as the caller was ready to wait. */
export class RedisUnavailableError extends GuildcastError {
  override name = "RedisUnavailableError";

  /**
   * Whether Redis may have carried the command out all the same: it was sent, and the answer was lost. A durable event
   * can be published again with the same idempotencyKey without coming twice.
   */
  readonly uncertain: boolean;

  constructor(message: string, uncertain: boolean, options?: ErrorOptions) {
    super(message, options);
    this.uncertain = uncertain;
  }
}

/**
 * What a handler of requests throws to refuse one. The client gets code (as in HTTP, 400 to 599) and word, which is
 * stable and for programs.
 */
export class RequestError extends GuildcastError {
  override name = "RequestError";
  readonly code: number;
  readonly word: string;

  constructor(code: number, word: string, options?: ErrorOptions) {
    super(word, options);
    this.code = code;
    this.word = word;
  }
}
