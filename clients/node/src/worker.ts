import { randomBytes } from "node:crypto";
import { hostname } from "node:os";
import { setTimeout as sleep } from "node:timers/promises";

import { RequestError } from "./errors.js";
import type { AllArgs, FetchArgs, InterpretRequest, InterpretResponse, PoolResult, SearchArgs } from "./events.js";
import { requestStream } from "./names.js";
import type { Redis, StreamEntry } from "./redis.js";
import { messageOf, within } from "./retry.js";

/** About a request, for its handler. */
export interface RequestContext {
  method: string;
  /** Aborted at the deadline, when nobody waits any longer. */
  signal: AbortSignal;
  /** In Unix milliseconds. */
  deadline: number;
}

/** An answer, or its parts one by one. A part goes out once the next one is there, or the end. */
export type Answer<T> = T | Promise<T> | Iterable<T> | AsyncIterable<T>;

/**
 * What answers requests, by method. A method without a handler is refused as unknown_method. A handler throws a
 * RequestError to refuse a request; any other error is logged, and sent as 500 `internal`. Handlers run concurrently,
 * and may be called twice for a request. Entities of any number will do: what is long goes out in parts.
 */
export interface Handlers {
  fetch?(args: FetchArgs, context: RequestContext): Answer<PoolResult>;
  all?(args: AllArgs, context: RequestContext): Answer<PoolResult>;
  search?(args: SearchArgs, context: RequestContext): Answer<PoolResult>;
  interpret?(args: InterpretRequest, context: RequestContext): Answer<InterpretResponse>;
}

export interface WorkerOptions {
  /**
   * The services to answer: "interpret", "pool:0", ... Default: interpret if there is a handler for it, and all shards
   * of the pools if there is one for those.
   */
  services?: string[];
  /** As nodes have it with --shards. Default 1. */
  shards?: number;
  /** The consumer group; all workers of a service belong in the same. Default "workers". */
  group?: string;
  /** What the consumer's name begins with; the rest is random. Default: the host's name. */
  name?: string;
  /** Requests handled at the same time, of each service; others wait in Redis for any worker. Default 16. */
  concurrency?: number;
  /** After how many milliseconds without a sign of life a request is taken over. Default 2,000. */
  claimAfter?: number;
  /** Entities in one part of an answer. Default 1,000, which is the most. */
  partSize?: number;
  /** Hears of errors: of handlers, and of Redis (at most one a minute of a kind). Default: console.error. */
  onError?: (error: Error) => void;
  /** Called once each service is joined for the first time: requests are taken from now on. */
  onReady?: () => void;
}

/** Counters since the start. */
export interface WorkerStats {
  answered: number;
  refused: number;
  /** Skipped, or ended without an answer in time. */
  expired: number;
  /** Taken over from another worker. */
  claimed: number;
  /** Dropped, because nobody could be answered. */
  malformed: number;
  /** Not published; another attempt follows, by this worker or another. */
  failed: number;
}

/** Answers the requests that nodes put into Redis. docs/reference/workers.md describes the protocol. */
export class Worker {
  readonly stats: WorkerStats = { answered: 0, refused: 0, expired: 0, claimed: 0, malformed: 0, failed: 0 };
  readonly #redis: Redis;
  readonly #handlers: Handlers;
  readonly #options: WorkerOptions;
  #running = false;

  constructor(redis: Redis, handlers: Handlers, options: WorkerOptions = {}) {
    this.#redis = redis;
    this.#handlers = handlers;
    this.#options = options;
  }

  /**
   * Answers requests until signal is aborted. Then it takes no more, finishes those that it has (until their deadlines
   * at most), and leaves. While Redis is away it waits. The client stays open.
   */
  async run(signal: AbortSignal): Promise<void> {
    if (this.#running) throw new Error("the worker is running");
    this.#running = true;
    const services = this.#services();
    let joining = services.length;
    const ready = () => { if (--joining === 0) this.#options.onReady?.(); };
    await Promise.all(services.map((service) =>
      new Consumer(this.#redis, this.#handlers, this.#options, this.stats, service, ready).run(signal)));
    this.#running = false;
  }

  #services(): string[] {
    const { services, shards = 1 } = this.#options;
    if (services) return services;
    const { interpret, ...pools } = this.#handlers;
    const found = interpret ? ["interpret"] : [];
    if (Object.keys(pools).length) for (let i = 0; i < shards; i++) found.push(`pool:${i}`);
    return found;
  }
}

/** How long one read waits for requests, which is how long stopping takes. */
const block = 500;
/** How long a worker without requests is silent before others remove its name: one that is killed leaves it behind. */
const forgetAfter = 10 * 60_000;
const settleTimeout = 2_000;
const most = { read: 64, claim: 8 };

interface Request { id: string; method: string; args: unknown; replyTo: string; deadline: number }

/** A worker's part in one stream's consumer group. */
class Consumer {
  readonly #stream: string;
  readonly #group: string;
  readonly #name: string;
  readonly #claimAfter: number;
  readonly #partSize: number;
  readonly #onError: (error: Error) => void;
  /** Entries being handled. */
  readonly #mine = new Map<string, Promise<void>>();
  /** Requests that can be taken: those of handlers that have not returned count, also if they are over. */
  #free: number;
  /** Who waits for some of them, in order: reading must not keep claiming from its turn. */
  readonly #waiting: { atMost: number; resolve: (reserved: number) => void }[] = [];
  #attempts = 0;
  readonly #lastError = new Map<string, number>();

  constructor(
    readonly redis: Redis, readonly handlers: Handlers, options: WorkerOptions, readonly stats: WorkerStats,
    service: string, readonly ready: () => void,
  ) {
    this.#stream = requestStream(service);
    this.#group = options.group ?? "workers";
    this.#name = `${options.name ?? (hostname() || "worker")}-${randomBytes(6).toString("hex")}`;
    this.#free = options.concurrency ?? 16;
    this.#claimAfter = options.claimAfter ?? 2_000;
    this.#partSize = Math.min(options.partSize ?? 1_000, 1_000);
    this.#onError = options.onError ?? ((error) => console.error("guildcast worker:", error));
  }

  async run(signal: AbortSignal): Promise<void> {
    const reader = this.redis.duplicate(); // a read blocks its connection
    reader.on("error", () => {});
    const finishing = new AbortController();
    const keeper = this.#loop(finishing.signal, () => this.#keepAlive(finishing.signal));
    signal.addEventListener("abort", () => {
      for (const { resolve } of this.#waiting.splice(0)) resolve(0);
    }, { once: true });
    await Promise.race([reader.connect(), aborted(signal)]); // it tries until it is destroyed
    await this.#loop(signal, () => this.#join(), true);
    if (!signal.aborted) this.ready();
    await Promise.all([
      this.#loop(signal, () => this.#read(reader, signal)), this.#loop(signal, () => this.#claim(signal)),
    ]);
    reader.destroy();
    await Promise.all(this.#mine.values());
    finishing.abort();
    await keeper;
    await this.#leave().catch(() => {}); // the others forget the name later
  }

  /** loop calls step until signal is aborted, or until it works once. It pauses after an error. */
  async #loop(signal: AbortSignal, step: () => Promise<void>, once = false): Promise<void> {
    for (let failures = 0; !signal.aborted;) {
      try {
        await step();
        if (once) return;
        failures = 0;
      } catch (error) {
        if (signal.aborted) return;
        // Redis has lost its memory.
        if (messageOf(error).includes("NOGROUP") && await this.#join().then(() => true, () => false)) continue;
        this.#report("worker can't use Redis", error);
        await pause(Math.min(50 * 2 ** failures++, 2_000), signal);
      }
    }
  }

  /** join makes the group, from the stream's beginning: what is older than the first worker may still be in time. */
  async #join(): Promise<void> {
    try {
      await this.redis.xGroupCreate(this.#stream, this.#group, "0", { MKSTREAM: true });
    } catch (error) {
      if (!messageOf(error).startsWith("BUSYGROUP")) throw error;
    }
  }

  /** read takes as many requests as can be handled now. */
  async #read(reader: Redis, signal: AbortSignal): Promise<void> {
    await this.#taking(most.read, signal, async (count) => {
      // A connection that is cut without a word must not keep the worker from stopping.
      const found = await within(reader.xReadGroup(this.#group, this.#name, { key: this.#stream, id: ">" },
        { COUNT: count, BLOCK: block }), block + 5_000) as { messages: StreamEntry[] }[] | null;
      return (found ?? []).flatMap(({ messages }) => messages);
    });
  }

  /** claim takes over requests that another worker has left, or this one after a pause of its whole process. */
  async #claim(signal: AbortSignal): Promise<void> {
    await pause(this.#claimAfter / 4, signal);
    await this.#taking(most.claim, signal, (count) => this.#abandoned(count));
    if (!signal.aborted) await this.#forgetDead();
  }

  async #abandoned(count: number): Promise<StreamEntry[]> {
    const [stream, group] = [this.#stream, this.#group];
    const left = await this.redis.xPendingRange(
      stream, group, "-", "+", count, { IDLE: this.#claimAfter }) as { id: string }[];
    const ids = left.map(({ id }) => id).filter((id) => !this.#mine.has(id));
    if (!ids.length) return [];
    const found: StreamEntry[] = [], gone: string[] = [];
    const claimed = await this.redis.xClaimJustId(stream, group, this.#name, this.#claimAfter, ids) as string[];
    for (const id of claimed) {
      const [entry] = await this.redis.xRange(stream, id, id) as StreamEntry[];
      if (entry) found.push(entry);
      else gone.push(id);
    }
    // Redis before 7 keeps them pending for ever.
    if (gone.length) await this.redis.xAck(stream, group, gone);
    this.stats.claimed += found.length;
    return found;
  }

  /** taking waits until a request can be taken, reserves room for up to so many, and starts those that take returns. */
  async #taking(atMost: number, signal: AbortSignal, take: (count: number) => Promise<StreamEntry[]>): Promise<void> {
    if (signal.aborted) return;
    let reserved = await this.#reserve(atMost);
    try {
      if (signal.aborted) return;
      for (const entry of await take(reserved)) {
        reserved--;
        const done = this.#handle(entry).catch((error) => this.#report("request not settled", error));
        this.#mine.set(entry.id, done.finally(() => this.#mine.delete(entry.id)));
      }
    } finally {
      this.#release(reserved);
    }
  }

  /** reserve reserves room for up to so many requests, and returns for how many: 0 if the worker stops. */
  #reserve(atMost: number): Promise<number> {
    return new Promise((resolve) => {
      this.#waiting.push({ atMost, resolve });
      this.#release(0);
    });
  }

  #release(count: number): void {
    this.#free += count;
    while (this.#waiting.length && this.#free > 0) {
      const { atMost, resolve } = this.#waiting.shift()!;
      const reserved = Math.min(this.#free, atMost);
      this.#free -= reserved;
      resolve(reserved);
    }
  }

  /** handle answers one entry and settles it. One whose answer can't be published stays, to be taken over. */
  async #handle(entry: StreamEntry): Promise<void> {
    const request = parse(entry.message);
    if (!request) {
      this.stats.malformed++;
      this.#release(1);
      this.#report("malformed request dropped", new Error(`entry ${entry.id} of ${this.#stream}`));
    } else if (Date.now() >= request.deadline) {
      this.stats.expired++;
      this.#release(1);
    } else {
      try {
        await this.#answer(request);
      } catch (error) {
        this.stats.failed++;
        this.#report("answer not published", error);
        return;
      }
    }
    await within(Promise.all([
      this.redis.xAck(this.#stream, this.#group, [entry.id]), this.redis.xDel(this.#stream, [entry.id]),
    ]), settleTimeout).catch(() => {}); // it is answered again, and the node drops the second answer
  }

  async #answer(request: Request): Promise<void> {
    const deadline = new AbortController();
    const timer = setTimeout(() => deadline.abort(), request.deadline - Date.now());
    const worker = `${this.#name}/${++this.#attempts}`;
    let part = 0;
    let published: unknown; // why a part could not be published
    const publish = async (message: object) => {
      const text = JSON.stringify({ id: request.id, worker, part, ...message });
      part++;
      await within(this.redis.publish(request.replyTo, text), settleTimeout).catch((error) => {
        published = error;
        throw error;
      });
    };
    const work = this.#call(request, deadline.signal, publish).finally(() => this.#release(1));
    try {
      await Promise.race([work, aborted(deadline.signal)]);
      if (deadline.signal.aborted) {
        this.stats.expired++; // nobody listens any more
      } else {
        this.stats.answered++;
      }
    } catch (error) {
      if (published !== undefined) throw published;
      this.stats.refused++;
      await publish({ ok: false, error: this.#refusal(request, error), more: false });
    } finally {
      clearTimeout(timer);
      work.catch(() => {}); // also of what is over
    }
  }

  /** call calls the handler and publishes its parts. Of each it must know whether another one follows. */
  async #call(request: Request, signal: AbortSignal, publish: (message: object) => Promise<void>): Promise<void> {
    const { method, args, deadline } = request;
    const known = method === "fetch" || method === "all" || method === "search" || method === "interpret";
    const handlers = this.handlers as Record<string, ((args: unknown, context: RequestContext) => unknown) | undefined>;
    if (!known || !handlers[method]) throw new RequestError(400, "unknown_method");
    let ready: unknown;
    const answer = handlers[method](args, { method, signal, deadline });
    for await (const result of partsOf(await answer)) {
      for (const piece of cut(result, this.#partSize)) {
        if (signal.aborted) return;
        if (ready !== undefined) await publish({ ok: true, result: ready, more: true });
        ready = piece;
      }
    }
    if (signal.aborted) return;
    if (ready === undefined) throw new Error(`the handler of ${method} returned nothing`);
    await publish({ ok: true, result: ready, more: false });
  }

  #refusal(request: Request, error: unknown): { code: number; message: string } {
    const { code, word } = error as Partial<RequestError>;
    if (Number.isInteger(code) && typeof word === "string") return { code: code!, message: word };
    this.#onError(new Error(`request ${request.method} not handled: ${messageOf(error)}`, { cause: error }));
    return { code: 500, message: "internal" };
  }

  /** keepAlive shows that the requests being handled are not abandoned: claiming an entry resets its idle time. */
  async #keepAlive(signal: AbortSignal): Promise<void> {
    await pause(this.#claimAfter / 4, signal);
    const ids = [...this.#mine.keys()];
    if (ids.length) await this.redis.xClaimJustId(this.#stream, this.#group, this.#name, 0, ids);
  }

  /** forgetDead removes the names of workers that were killed, unless they hold requests, which would be lost too. */
  async #forgetDead(): Promise<void> {
    const consumers = await this.redis.xInfoConsumers(this.#stream, this.#group);
    for (const { name, pending, idle } of consumers as { name: string; pending: number; idle: number }[]) {
      if (name === this.#name || pending > 0 || idle < forgetAfter) continue;
      await this.redis.xGroupDelConsumer(this.#stream, this.#group, name);
    }
  }

  /** leave removes the worker's own name if it holds no request. */
  async #leave(): Promise<void> {
    const consumer = this.#name;
    const pending = await within(
      this.redis.xPendingRange(this.#stream, this.#group, "-", "+", 1, { consumer }), settleTimeout) as unknown[];
    if (!pending.length) {
      await within(this.redis.xGroupDelConsumer(this.#stream, this.#group, consumer), settleTimeout);
    }
  }

  /** report reports an error, each kind once a minute. */
  #report(what: string, cause: unknown): void {
    const now = performance.now();
    if (now - (this.#lastError.get(what) ?? -Infinity) < 60_000) return;
    this.#lastError.set(what, now);
    this.#onError(new Error(`${what}: ${messageOf(cause)} (${this.#stream})`, { cause }));
  }
}

/** parse returns nothing if nobody could be answered. */
function parse({ id, method, args, reply_to: replyTo, deadline }: Record<string, string>): Request | undefined {
  const until = Number(deadline);
  if (!id || !method || !replyTo || !args || !/^\d+$/.test(deadline ?? "") || !Number.isSafeInteger(until)) return;
  try {
    return { id, method, args: JSON.parse(args), replyTo, deadline: until };
  } catch {
    return;
  }
}

/** partsOf returns the parts of an answer. An array or a text is none: it would be a mistake. */
function partsOf(answer: unknown): Iterable<unknown> | AsyncIterable<unknown> {
  if (typeof answer === "object" && answer !== null && !Array.isArray(answer) &&
    (Symbol.iterator in answer || Symbol.asyncIterator in answer)) return answer as Iterable<unknown>;
  return [answer];
}

/** cut divides entities into parts that nodes take. What else an answer holds goes with the last of them. */
function* cut(result: unknown, size: number): Generator<unknown> {
  const { data, ...rest } = (result ?? {}) as { data?: unknown };
  if (!Array.isArray(data) || "actions" in rest) {
    yield result;
    return;
  }
  let i = 0;
  for (; i + size < data.length; i += size) yield { data: data.slice(i, i + size), nonexistent: [] };
  yield { nonexistent: [], ...rest, data: data.slice(i) };
}

function aborted(signal: AbortSignal): Promise<void> {
  if (signal.aborted) return Promise.resolve();
  return new Promise((resolve) => signal.addEventListener("abort", () => resolve(), { once: true }));
}

async function pause(ms: number, signal: AbortSignal): Promise<void> {
  await sleep(ms, undefined, { signal }).catch(() => {});
}
