import { createClient, createCluster, createSentinel } from "@redis/client";

/** An entry of a stream, as node-redis has it. */
export interface StreamEntry {
  id: string;
  message: Record<string, string>;
}

/**
 * What the kit asks of Redis: a client, a cluster or a sentinel of node-redis (packages `redis` and `@redis/client`,
 * version 5 or later). connect makes one; bring your own if you have one already.
 */
export interface Redis {
  readonly isOpen: boolean;
  connect(): Promise<unknown>;
  close(): unknown;
  destroy(): unknown;
  duplicate(): Redis;
  on(event: "error", listener: (error: Error) => void): unknown;

  publish(channel: string, message: string | Buffer): Promise<unknown>;
  sPublish(channel: string, message: string): Promise<unknown>;
  eval(script: string, options: { keys: string[]; arguments: string[] }): Promise<unknown>;
  evalSha(sha: string, options: { keys: string[]; arguments: string[] }): Promise<unknown>;
  hSet(key: string, fields: [string, string][]): Promise<unknown>;
  hDel(key: string, fields: string[]): Promise<unknown>;
  hKeys(key: string): Promise<unknown>;
  sAdd(key: string, members: string[]): Promise<unknown>;
  sRem(key: string, members: string[]): Promise<unknown>;
  zAdd(key: string, member: { score: number; value: string }, options: { comparison: "GT" }): Promise<unknown>;
  xGroupCreate(key: string, group: string, id: string, options: { MKSTREAM: true }): Promise<unknown>;
  xGroupDelConsumer(key: string, group: string, consumer: string): Promise<unknown>;
  xReadGroup(
    group: string, consumer: string, stream: { key: string; id: string }, options: { COUNT: number; BLOCK: number },
  ): Promise<unknown>;
  xPendingRange(
    key: string, group: string, start: string, end: string, count: number,
    options?: { IDLE?: number; consumer?: string },
  ): Promise<unknown>;
  xClaimJustId(key: string, group: string, consumer: string, minIdle: number, ids: string[]): Promise<unknown>;
  xRange(key: string, start: string, end: string): Promise<unknown>;
  xAck(key: string, group: string, ids: string[]): Promise<unknown>;
  xDel(key: string, ids: string[]): Promise<unknown>;
  xInfoConsumers(key: string, group: string): Promise<unknown>;
}

/** Options of connect. */
export interface ConnectOptions {
  /** Hears of lost connections. They are made anew in any case. Default: nobody does. */
  onError?: (error: Error) => void;
}

/**
 * Connects to Redis: `redis://`, `rediss://`, `redis+sentinel://`, `redis+cluster://` and their encrypted forms, as a
 * node's --redis takes them (without options after a question mark). It tries for ever; commands fail at once while
 * there is no connection, and what this package does with them is repeated as its `retry` says.
 */
export async function connect(url: string, options: ConnectOptions = {}): Promise<Redis> {
  const redis = open(parse(url));
  redis.on("error", options.onError ?? (() => {}));
  await redis.connect();
  return redis;
}

interface Target {
  mode: "single" | "sentinel" | "cluster";
  tls: boolean;
  hosts: { host: string; port: number }[];
  username?: string;
  password?: string;
  primary: string;
  database?: number;
}

/** parse reads a URL. No error quotes it, because it may hold a password. */
function parse(url: string): Target {
  const match = /^(rediss?)(\+sentinel|\+cluster)?:\/\/(?:([^@/]*)@)?([^/?#@]*)(?:\/([^?#@]*))?$/.exec(url);
  if (!match) throw new TypeError("redis URL: not redis://, redis+sentinel:// or redis+cluster:// with hosts");
  const [, scheme, kind, user, hosts = "", path = ""] = match;
  const mode = kind === "+sentinel" ? "sentinel" : kind === "+cluster" ? "cluster" : "single";
  const target: Target = {
    mode, tls: scheme === "rediss", primary: "",
    hosts: hosts.split(",").map((host) => address(host, mode === "sentinel" ? 26379 : 6379)),
  };
  if (user !== undefined) {
    const [name = "", ...password] = user.split(":");
    if (name) target.username = decodeURIComponent(name);
    if (password.length) target.password = decodeURIComponent(password.join(":"));
  }
  const parts = path.split("/").filter(Boolean);
  if (mode === "sentinel") {
    target.primary = parts.shift() ?? "";
    if (!target.primary) throw new TypeError("redis URL: the primary's name is missing after the Sentinels");
  }
  if (mode === "single" && target.hosts.length > 1) throw new TypeError("redis URL: more than one host");
  const database = parts.shift();
  if (database !== undefined) target.database = Number(database);
  const valid = Number.isInteger(target.database ?? 0) && !(mode === "cluster" && target.database);
  if (parts.length || !valid) throw new TypeError("redis URL: what follows the hosts is not a database's number");
  return target;
}

function address(text: string, port: number): { host: string; port: number } {
  const match = /^(\[[^\]]+\]|[^:]*)(?::(\d+))?$/.exec(text);
  if (!match) throw new TypeError("redis URL: a host is not host:port");
  return { host: (match[1] || "localhost").replace(/^\[|\]$/g, ""), port: Number(match[2] ?? port) };
}

const reconnectStrategy = (retries: number) => Math.min(50 * 2 ** retries, 2000) * (0.5 + Math.random() / 2);

function open(target: Target): Redis {
  const socket = { connectTimeout: 3000, reconnectStrategy, ...(target.tls ? { tls: true as const } : {}) };
  const account = {
    ...(target.username === undefined ? {} : { username: target.username }),
    ...(target.password === undefined ? {} : { password: target.password }),
  };
  // The embedded Redis of a node answers XREADGROUP in the form of RESP 2, whatever was agreed.
  const RESP = 2;
  // Without the offline queue a command that was not sent is known not to have been.
  const options = { socket, ...account, disableOfflineQueue: true };
  const database = target.database === undefined ? {} : { database: target.database };
  switch (target.mode) {
    case "cluster":
      return createCluster({
        RESP, rootNodes: target.hosts.map((host) => ({ socket: { ...socket, ...host } })), defaults: options,
      });
    case "sentinel":
      return createSentinel({
        RESP, name: target.primary, sentinelRootNodes: target.hosts, masterPoolSize: 4,
        nodeClientOptions: { ...options, ...database },
        ...(target.tls ? { sentinelClientOptions: { socket } } : {}),
      });
    default:
      return createClient({ RESP, ...options, ...database, socket: { ...socket, ...target.hosts[0] } });
  }
}

/** Cluster is the part of node-redis's cluster that says which server has a slot. */
interface Cluster {
  slots: { master: unknown }[];
  nodeClient(node: unknown): Redis | Promise<Redis>;
}

/**
 * publishing returns who should publish what belongs together. In a cluster any server takes it, but only what one
 * server takes stays in order: the one that has the tag's slot.
 */
export async function publishing(redis: Redis, tag: string): Promise<Pick<Redis, "publish">> {
  const { slots, nodeClient } = redis as Partial<Cluster>;
  const master = slots?.[slotOf(tag)]?.master;
  if (!nodeClient || !master) return redis;
  return nodeClient.call(redis, master);
}

/** slotOf returns the slot of a key without braces: CRC-16 (XMODEM) modulo 16384, as Redis Cluster specifies it. */
function slotOf(key: string): number {
  let crc = 0;
  for (const byte of Buffer.from(key)) {
    crc ^= byte << 8;
    for (let bit = 0; bit < 8; bit++) crc = (crc & 0x8000 ? (crc << 1) ^ 0x1021 : crc << 1) & 0xffff;
  }
  return crc % 16384;
}
