import { revocationsKey, revokeChannel } from "./names.js";
import type { Redis } from "./redis.js";
import { attempt, type RetryOptions } from "./retry.js";

/** Which tokens: those that meet all of the conditions given. sub or jti is required. */
export type Tokens = ({ sub: string; jti?: string } | { sub?: string; jti: string }) & {
  /**
   * Only tokens that were issued before, in Unix seconds, or "now": the user may come back with a new one. Without it
   * a user is banned, with tokens that are minted later.
   */
  iatBefore?: number | "now";
};

export interface RevokeOptions {
  /** Until when it is remembered, in Unix milliseconds: when the last of the tokens expires. Default: in 30 days. */
  expires?: number;
  retry?: RetryOptions;
}

/**
 * Revokes tokens: every socket that has one is demoted at once, and nodes refuse it, also those that start later. It is
 * stored before it is published, so that it holds even if no node runs. It returns how many nodes heard it.
 */
export async function revoke(redis: Redis, tokens: Tokens, options: RevokeOptions = {}): Promise<number> {
  const { sub, jti, iatBefore } = tokens;
  for (const text of [sub, jti]) {
    if (text !== undefined && (typeof text !== "string" || !text)) throw new TypeError("sub and jti are texts");
  }
  if (sub === undefined && jti === undefined) throw new TypeError("a revocation has sub or jti");
  // The members in the order of their names, as nodes store them: the same revocation is one.
  const record: Record<string, unknown> = {};
  // iat has whole seconds: those of this one count as before now.
  if (iatBefore !== undefined) record.iat_before = iatBefore === "now" ? Math.floor(Date.now() / 1000) + 1 : iatBefore;
  if (jti !== undefined) record.jti = jti;
  if (sub !== undefined) record.sub = sub;
  if (iatBefore !== undefined && !Number.isFinite(record.iat_before)) throw new TypeError("iatBefore is no time");
  const expires = options.expires ?? Date.now() + 30 * 24 * 3_600_000;
  if (!(expires > Date.now())) throw new TypeError("expires is not in the future");
  const member = { score: expires, value: JSON.stringify(record) };
  const store = () => redis.zAdd(revocationsKey, member, { comparison: "GT" });
  await attempt("store a revocation", true, store, options.retry);
  const message = JSON.stringify({ ...record, exp: expires / 1000 });
  const publish = () => redis.publish(revokeChannel, message);
  return Number(await attempt("publish a revocation", true, publish, options.retry));
}
