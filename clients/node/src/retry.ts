import { setTimeout as sleep } from "node:timers/promises";

import { RedisRefusedError, RedisUnavailableError } from "./errors.js";

/** How a command is repeated that Redis has not answered. Times are in milliseconds. */
export interface RetryOptions {
  /** How long one call may take, with all of its attempts. Default 10,000. */
  timeout?: number;
  /** How long one attempt waits for its answer. Default 3,000. */
  attemptTimeout?: number;
  /** The pause before the second attempt; each later one is twice as long, with jitter. Default 50. */
  first?: number;
  /** The longest pause. Default 1,000. */
  most?: number;
}

/**
 * attempt calls Redis until it answers. What must not be done twice (repeatable is false) is repeated only while it is
 * certain that it was not sent.
 */
export async function attempt<T>(
  what: string, repeatable: boolean, call: (n: number) => Promise<T>, retry: RetryOptions = {},
): Promise<T> {
  const { timeout = 10_000, attemptTimeout = 3_000, first = 50, most = 1_000 } = retry;
  const end = performance.now() + timeout;
  let uncertain = false;
  for (let n = 0; ; n++) {
    const left = end - performance.now();
    try {
      return await within(call(n), Math.max(1, Math.min(attemptTimeout, left)));
    } catch (error) {
      const verdict = judge(error);
      if (verdict === "ours") throw error;
      if (verdict === "refused") throw new RedisRefusedError(`${what}: ${messageOf(error)}`, { cause: error });
      uncertain ||= verdict === "lost";
      const pause = Math.min(first * 2 ** n, most) * (0.5 + Math.random() / 2);
      if (verdict === "closed" || (uncertain && !repeatable) || performance.now() + pause >= end) {
        throw new RedisUnavailableError(`${what}: ${messageOf(error)}`, uncertain, { cause: error });
      }
      await sleep(pause);
    }
  }
}

class NoAnswer extends Error {
  override name = "NoAnswer";
}

/** within rejects if a promise takes longer than some milliseconds. */
export function within<T>(promise: Promise<T>, ms: number): Promise<T> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new NoAnswer(`no answer within ${Math.round(ms)} ms`)), ms);
  });
  return Promise.race([promise, late]).finally(() => clearTimeout(timer));
}

const passing = /^(LOADING|MASTERDOWN|CLUSTERDOWN|TRYAGAIN|READONLY|BUSY|MOVED|ASK|UNBLOCKED) /;

/**
 * judge says what an error means: "refused" by Redis for good, "unsent" (also if Redis refuses for the moment), "lost"
 * if the command may have been carried out, "closed" if the client was, or "ours" if it is none of Redis's.
 */
function judge(error: unknown): "refused" | "unsent" | "lost" | "closed" | "ours" {
  // By name: the caller's client may be of another copy of node-redis.
  const names = namesOf(error);
  if (names.includes("ErrorReply")) return passing.test(messageOf(error)) ? "unsent" : "refused";
  if (names.includes("ClientClosedError")) return "closed";
  if (names.includes("ClientOfflineError") || names.includes("ConnectionTimeoutError")) return "unsent";
  if ((error as { code?: unknown }).code === "ECONNREFUSED") return "unsent";
  if (names.includes("TypeError") || names.includes("RangeError") || names.includes("GuildcastError")) return "ours";
  return "lost";
}

function namesOf(error: unknown): string[] {
  const names: string[] = [];
  for (let p = error; p !== null && typeof p === "object"; p = Object.getPrototypeOf(p)) {
    if (p.constructor?.name) names.push(p.constructor.name);
  }
  return names;
}

export function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
