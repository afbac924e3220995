/** A node beside a test. README.md shows how. */
import {
  connect, Pools, Publisher, revoke, Worker, RequestError,
  type Handlers, type Redis, type Tokens,
} from "@guildcast/server";
import { Client } from "./client.js";
import { NodeProcess, type Addresses } from "./process.js";
import { mint, type Claims } from "./token.js";

export { Client, type Received, type Waiting } from "./client.js";
export type { Claims, Permissions } from "./token.js";

export interface StartOptions {
  /** The program; GUILDCAST_BINARY, or guildcast on the PATH, if it is left out. */
  binary?: string;
  /** Further flags of `guildcast serve`. */
  args?: string[];
  /** Further variables of its environment. */
  env?: Record<string, string>;
  /** Signs the tokens. */
  secret?: string;
  /** Answers what the node does not find among the entities. By default there is nothing. */
  worker?: Handlers;
  /** How long to wait for the node and for events, in ms; 10,000 if it is left out. */
  timeout?: number;
}

const nothing: Handlers = {
  fetch: ({ ids }) => ({ data: [], nonexistent: ids }),
  all: () => ({ data: [] }),
  search: () => ({ data: [] }),
  interpret() {
    throw new RequestError(503, "no_interpreter");
  },
};

/** A node. */
export class TestServer {
  /** Where clients connect. */
  readonly url: string;
  /** The URL of the node's Redis. */
  readonly redisUrl: string;
  readonly redis: Redis;
  /** Publishes guild events, plainly and durably. */
  readonly publisher: Publisher;
  /** Writes entities, and who is online. */
  readonly pools: Pools;
  readonly #process: NodeProcess;
  readonly #secret: string;
  readonly #timeout: number;
  readonly #clients = new Set<Client>();
  readonly #stop = new AbortController();
  readonly #worker: Promise<unknown>;

  private constructor(process: NodeProcess, at: Addresses, redis: Redis, options: Required<StartOptions>) {
    this.#process = process;
    this.url = at.url;
    this.redisUrl = at.redis;
    this.redis = redis;
    this.#secret = options.secret;
    this.#timeout = options.timeout;
    this.publisher = new Publisher(redis);
    this.pools = new Pools(redis);
    this.#worker = new Worker(redis, options.worker, {
      onReady: () => this.#ready(),
      onError: (error) => this.#stop.signal.aborted || console.error("guildcast test server:", error),
    }).run(this.#stop.signal);
  }

  #ready!: () => void;
  readonly #working = new Promise<void>((resolve) => (this.#ready = resolve));

  /** Starts a node on a free port. Resolves when it serves. */
  static async start(options: StartOptions = {}): Promise<TestServer> {
    const all: Required<StartOptions> = {
      binary: process.env.GUILDCAST_BINARY ?? "guildcast", args: [], env: {}, worker: nothing, timeout: 10_000,
      secret: "the secret of a node in a test; everybody knows it", ...options,
    };
    const node = new NodeProcess(all.binary, [
      "serve", "--addr", "127.0.0.1:0", "--redis", "embedded://127.0.0.1:0", "--log", "json", "--advertise", "off",
      "--grace", "100ms", ...all.args,
    ], { GUILDCAST_JWT_SECRET: all.secret, ...all.env });
    const at = await node.serving(all.timeout);
    try {
      const server = new TestServer(node, at, await connect(at.redis), all);
      await server.#working;
      return server;
    } catch (error) {
      await node.kill();
      throw error;
    }
  }

  /** What the node has logged, as lines of JSON. */
  get log(): string {
    return this.#process.log;
  }

  /** Mints a token. */
  token(claims: Claims): string {
    return mint(this.#secret, claims);
  }

  /** Connects a client. With a token it is elevated. */
  async connect(token?: string): Promise<Client> {
    const client = new Client(this.url, token, this.#timeout);
    this.#clients.add(client);
    try {
      return await client.ready();
    } catch (error) {
      client.close();
      throw error;
    }
  }

  /** Revokes tokens. Clients that have one get elevation_expired. */
  async revoke(tokens: Tokens): Promise<void> {
    await revoke(this.redis, tokens);
  }

  /** Kills the node, as a crash would; the clients hear of it. stop is to be called all the same. */
  async kill(): Promise<void> {
    this.#stop.abort(); // the worker's Redis goes with the node
    await this.#process.kill();
  }

  /** Ends the clients and the node. */
  async stop(): Promise<void> {
    this.#stop.abort();
    for (const client of this.#clients) client.close();
    await this.#process.stop(this.#timeout);
    this.redis.destroy(); // so that the worker does not wait for a Redis that has gone
    await this.#worker;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.stop();
  }
}

/** Starts a node on a free port. Resolves when it serves. */
export const start = TestServer.start;
