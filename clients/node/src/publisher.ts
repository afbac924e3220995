import { createHash, randomUUID } from "node:crypto";

import { InvalidEventError } from "./errors.js";
import type { GuildEventEnvelope, LogAction, PermissionName, Position } from "./events.js";
import { checkGuild, historyKey, topicChannel, type GuildId } from "./names.js";
import { publishing, type Redis } from "./redis.js";
import { attempt, type RetryOptions } from "./retry.js";
import { script } from "./script.js";

const sha = createHash("sha1").update(script).digest("hex");

const permissions: Record<PermissionName, true> = {
  ADMINISTRATOR: true, VIEW_PUBLIC_LOGS: true, VIEW_PRIVATE_LOGS: true, REVERT_LOG_ACTIONS: true,
  ADD_AUTO_RESPONSE: true, IGNORE_AUTO_RESPONSE_QUOTA: true, EDIT_ANY_AUTO_RESPONSE: true,
  DELETE_ANY_AUTO_RESPONSE: true, VIEW_SETTINGS: true, MANAGE_SETTINGS: true, EXEC_PURGE_CMD: true,
};

/**
 * An event of a guild, without what the kit adds; docs/reference/permissions.md says who gets it. ts is now unless it
 * is given.
 */
export type Envelope =
  Omit<GuildEventEnvelope, "idempotency_key" | "kind"> & Required<Pick<GuildEventEnvelope, "kind">>;

/**
 * What is published: an envelope, or a log action, which is its own payload. Repeated attempts to publish a log action
 * are known to be the same by its id.
 */
export type GuildEvent = Envelope | LogAction;

export interface PublisherOptions {
  /** What precedes the guild's id in the names of channels, as nodes have it with --topic-prefix. Default "". */
  topicPrefix?: string;
  /** Whether nodes run with --topics sharded. Default false. */
  sharded?: boolean;
  /** How many events a guild's history keeps. Default 1,000. */
  maxEntries?: number;
  /** How long it keeps one, in milliseconds. Default an hour. */
  maxAge?: number;
  /** How commands are repeated while Redis is away. */
  retry?: RetryOptions;
}

export interface PublishOptions {
  /** Publish on the log topic: only for those who spectate with logs. Default false. */
  logs?: boolean;
}

export interface DurableOptions extends PublishOptions {
  /**
   * Names the event: it is published once, however often it is published with this key within the guild's history. Up
   * to 128 characters of A-Z a-z 0-9 . _ : -. Default: one of its own for each call, so that its retries are safe.
   */
  idempotencyKey?: string;
}

/** Remembered guilds. What is forgotten costs the script a look through the guild's history. */
const remembered = 10_000;

/** Publishes guild events. Its methods may be called concurrently; events of one guild keep their order if awaited. */
export class Publisher {
  readonly #redis: Redis;
  readonly #options: PublisherOptions;
  /** Of each guild, the position of what was published last: what is published again is behind it. */
  readonly #last = new Map<GuildId, Position>();

  constructor(redis: Redis, options: PublisherOptions = {}) {
    this.#redis = redis;
    this.#options = options;
  }

  /**
   * Publishes a plain event: who is connected gets it, nobody else ever does. It returns how many connections of nodes
   * heard it. It is not repeated once it was sent; see RedisUnavailableError.uncertain.
   */
  async publish(guild: GuildId, event: GuildEvent, options: PublishOptions = {}): Promise<number> {
    checkGuild(guild);
    const { topicPrefix = "", sharded = false, retry } = this.#options;
    const channel = topicChannel(topicPrefix, guild, options.logs ?? false, sharded);
    const { text } = encode(guild, event);
    return Number(await attempt(`publish on ${channel}`, false, async () => {
      if (sharded) return this.#redis.sPublish(channel, text);
      return (await publishing(this.#redis, guild)).publish(channel, text);
    }, retry));
  }

  /**
   * Publishes an event durably: every client that may see it gets it exactly once and in order, also who is away just
   * now, for as long as the guild's history keeps it. It returns the event's position. While Redis is away it repeats,
   * which is safe: an event that Redis has already is not published again.
   */
  async publishDurably(guild: GuildId, event: GuildEvent, options: DurableOptions = {}): Promise<Position> {
    checkGuild(guild);
    const { topicPrefix = "", sharded = false, maxEntries = 1_000, maxAge = 3_600_000, retry } = this.#options;
    const channel = topicChannel(topicPrefix, guild, options.logs ?? false, sharded);
    const { text, beginning } = encode(guild, event, options.idempotencyKey ?? randomUUID());
    // What has a key of the caller's may be anywhere in the history, and so may what an earlier attempt left there.
    const after = options.idempotencyKey === undefined ? this.#last.get(guild) ?? "0-0" : "0-0";
    const position = await attempt(`publish durably on ${channel}`, true, (n) => this.#run({
      keys: [historyKey(guild)],
      arguments: [channel, text, String(maxEntries), String(maxAge), beginning, n === 0 ? after : "0-0"],
    }), retry);
    this.#remember(guild, position);
    return position;
  }

  async #run(options: { keys: string[]; arguments: string[] }): Promise<Position> {
    try {
      return String(await this.#redis.evalSha(sha, options));
    } catch (error) {
      if (!(error instanceof Error && error.message.startsWith("NOSCRIPT"))) throw error;
      return String(await this.#redis.eval(script, options)); // the first time, and after Redis was started anew
    }
  }

  #remember(guild: GuildId, position: Position): void {
    this.#last.delete(guild);
    this.#last.set(guild, position);
    if (this.#last.size > remembered) this.#last.delete(this.#last.keys().next().value!);
  }
}

/** What a node reads itself from an envelope; other members are the publisher's own. */
const envelopeMembers = new Set(["kind", "payload", "event", "private", "requires", "ts"]);
const reserved = new Set([
  "connect", "connect_error", "connection", "disconnect", "disconnecting", "newListener", "removeListener", "error",
]);
const mostBytes = 4 << 20;

/**
 * encode returns the message for an event, and how it begins, which is unique to it. It refuses what nodes would drop
 * and what, by a mistake, nobody would see.
 */
function encode(guild: GuildId, event: GuildEvent, key?: string): { text: string; beginning: string } {
  if (typeof event !== "object" || event === null) throw new InvalidEventError("an event is an object");
  const fail = (why: string): never => { throw new InvalidEventError(why); };
  if (event.event !== undefined) {
    const name = event.event;
    if (typeof name !== "string" || name === "" || Buffer.byteLength(name) > 128 || reserved.has(name) ||
      /[\u0000-\u001f\u007f]/.test(name)) fail(`an event can't be named ${JSON.stringify(name)}`);
  }
  if (event.private !== undefined && typeof event.private !== "boolean") fail("private is no boolean");
  if (event.requires !== undefined) checkRequires(event.requires);
  const text = "action_number" in event
    ? encodeAction(guild, event as LogAction) : encodeEnvelope(event as Envelope, key);
  if (Buffer.byteLength(text) > mostBytes) fail("the event is larger than 4 MiB");
  return { text, beginning: "action_number" in event || key === undefined ? text : beginningOf(key) };
}

function encodeAction(guild: GuildId, action: LogAction): string {
  const fail = (why: string): never => { throw new InvalidEventError(why); };
  if (!Number.isInteger(action.action_number) || action.action_number < 0) fail("action_number is no whole number");
  if (typeof action.id !== "string" || action.id === "") fail("a log action has an id, which is unique");
  if (action.guild_id !== undefined && action.guild_id !== guild) fail("guild_id is another guild");
  if ("kind" in action || "payload" in action) fail("a log action has neither kind nor payload");
  return JSON.stringify(action);
}

function encodeEnvelope(envelope: Envelope, key: string | undefined): string {
  const fail = (why: string): never => { throw new InvalidEventError(why); };
  if (typeof envelope.kind !== "string" || envelope.kind === "") fail("an event without a kind reaches nobody");
  for (const name of Object.keys(envelope)) {
    if (!envelopeMembers.has(name)) fail(`an event has no member ${JSON.stringify(name)}: put it into payload`);
  }
  if (key !== undefined && !/^[\w.:-]{1,128}$/.test(key)) fail("an idempotency key is 1 to 128 of A-Z a-z 0-9 . _ : -");
  const { payload, ...head } = { ts: Date.now(), ...envelope };
  const body = JSON.stringify(payload);
  if (body === undefined) fail("an event without a payload would be dropped");
  return (key === undefined ? "{" : beginningOf(key)) + JSON.stringify(head).slice(1, -1) + `,"payload":${body}}`;
}

const beginningOf = (key: string) => `{"idempotency_key":"${key}",`;

function checkRequires(requires: unknown): void {
  for (const one of Array.isArray(requires) ? requires : [requires]) {
    const known = typeof one === "number" ? Number.isSafeInteger(one) && one >= 0 : Object.hasOwn(permissions, one);
    if (!known) throw new InvalidEventError(`nobody would get it: there is no permission ${JSON.stringify(one)}`);
  }
}
