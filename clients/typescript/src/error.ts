import type { ErrorPayload } from "./protocol.js";

/** Words of errors that no node sends: the client makes them itself, and `local` is true. */
export type LocalWord = "disconnected" | "timeout" | "aborted" | "superseded" | "closed" | "no_token" | "unexpected";

const codes: Record<LocalWord, number> = {
  disconnected: 503, timeout: 504, aborted: 499, superseded: 499, closed: 410, no_token: 401, unexpected: 500,
};

/** The one type of error that this package rejects with. */
export class GuildcastError extends Error {
  override readonly name = "GuildcastError";
  /** Follows HTTP: 401 no valid token, 403 no right, 429 too much, 503 unavailable, 504 no answer. */
  readonly code: number;
  /** A stable word to branch on, such as `not_a_member`; `message` on the wire. */
  readonly word: string;
  /** A sentence for people, in English. */
  readonly human: string;
  readonly details: unknown;
  /** Begins with the event that the error is about. */
  readonly context: readonly string[];
  /** Whether this package made the error, rather than a node. */
  readonly local: boolean;

  constructor(e: Partial<ErrorPayload> & { local?: boolean }, cause?: unknown) {
    const word = e.message || "internal";
    super(e.human ? `${word}: ${e.human}` : word, cause === undefined ? undefined : { cause });
    this.code = e.code ?? 500;
    this.word = word;
    this.human = e.human || word.replaceAll("_", " ");
    this.details = e.details ?? null;
    this.context = e.context ?? [];
    this.local = e.local ?? false;
  }

  /** Reports whether the same request may succeed a little later. */
  get temporary(): boolean {
    return this.code === 429 || this.code === 503 || this.code === 504;
  }
}

export function localError(word: LocalWord, human: string, context: string[] = [], cause?: unknown): GuildcastError {
  return new GuildcastError({ message: word, code: codes[word], human, context, local: true }, cause);
}

/** Returns e as a GuildcastError, whatever it is. */
export function asError(e: unknown, context: string[] = []): GuildcastError {
  if (e instanceof GuildcastError) return e;
  return localError("unexpected", e instanceof Error ? e.message : String(e), context, e);
}
