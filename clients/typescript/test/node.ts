// A real node and a real Redis for tests.
import { execFileSync, spawn, type ChildProcess } from "node:child_process";
import { createHmac } from "node:crypto";
import { existsSync } from "node:fs";
import { connect as dial, createServer, type Socket } from "node:net";

const secret = "a secret that is long enough for HS256";

export const binary = process.env.GUILDCAST_BINARY ?? new URL("../../../bin/guildcast", import.meta.url).pathname;

export interface Running {
  url: string;
  stop(signal?: NodeJS.Signals): Promise<void>;
}

/** Returns a port that nobody listens on. */
export async function freePort(): Promise<number> {
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const { port } = server.address() as { port: number };
  await new Promise((resolve) => server.close(resolve));
  return port;
}

export async function startRedis(): Promise<Running> {
  const port = await freePort();
  const child = spawn("redis-server", ["--port", String(port), "--bind", "127.0.0.1", "--save", ""]);
  await until(async () => {
    const redis = new Redis(`redis://127.0.0.1:${port}`);
    await redis.command("PING").finally(() => redis.close());
  }, child);
  return { url: `redis://127.0.0.1:${port}`, stop: (signal) => stop(child, signal) };
}

export async function startNode(redis: string, args: string[] = [], port?: number): Promise<Running> {
  if (!existsSync(binary)) throw new Error(`there is no ${binary}; run make build`);
  port ??= await freePort();
  const own = Object.entries(process.env).filter(([name]) => !name.startsWith("GUILDCAST_"));
  const child = spawn(binary, [
    "serve", "--addr", `127.0.0.1:${port}`, "--redis", redis, "--jwt-secret", secret, "--origins", "*", "--grace", "1s",
    "--request-timeout", "2s", ...args,
  ], { env: Object.fromEntries(own) });
  const url = `http://127.0.0.1:${port}`;
  await until(async () => {
    if (!(await fetch(`${url}/readyz`)).ok) throw new Error("not ready");
  }, child);
  return { url, stop: (signal) => stop(child, signal) };
}

/** Tries until it works, or the process has ended. */
async function until(attempt: () => Promise<unknown>, child: ChildProcess): Promise<void> {
  let log = "";
  child.stderr?.on("data", (text) => (log += text));
  child.stdout?.on("data", (text) => (log += text));
  for (;;) {
    try {
      await attempt();
      return;
    } catch (e) {
      if (child.exitCode !== null) throw new Error(`the process has ended: ${log}`, { cause: e });
    }
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}

async function stop(child: ChildProcess, signal: NodeJS.Signals = "SIGTERM"): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  const ended = new Promise((resolve) => child.once("exit", resolve));
  child.kill(signal);
  await ended;
}

export interface Claims {
  sub: string;
  guilds: Record<string, number>;
  permissions?: number;
  jti?: string;
  /** In seconds from now; default an hour. */
  life?: number;
}

let minted = 0;

/** Mints a token; each is different. */
export function token({ sub, guilds, permissions = 0, jti, life = 3600 }: Claims): string {
  const iat = Math.floor(Date.now() / 1000);
  const claims = { sub, guilds, permissions, jti: jti ?? `t${++minted}`, iat, exp: iat + life };
  const head = encode({ alg: "HS256", typ: "JWT" }), body = encode(claims);
  const signature = createHmac("sha256", secret).update(`${head}.${body}`).digest("base64url");
  return `${head}.${body}.${signature}`;
}

const encode = (o: object): string => Buffer.from(JSON.stringify(o)).toString("base64url");

const script = (): string => (printed ??= execFileSync(binary, ["publish", "--print-script"], { encoding: "utf8" }));
let printed: string | undefined;

/** Redis as a backend uses it. */
export class Redis {
  readonly #socket: Socket;
  readonly #waiting: { resolve(v: unknown): void; reject(e: Error): void }[] = [];
  #read = Buffer.alloc(0);

  constructor(url: string) {
    const { hostname, port } = new URL(url);
    this.#socket = dial(Number(port), hostname);
    this.#socket.on("data", (data) => {
      this.#read = Buffer.concat([this.#read, data]);
      this.#answer();
    });
    const fail = (): void => {
      for (const { reject } of this.#waiting.splice(0)) reject(new Error("no Redis"));
    };
    this.#socket.on("error", fail);
    this.#socket.on("close", fail);
  }

  command(...args: (string | number)[]): Promise<unknown> {
    return new Promise((resolve, reject) => {
      this.#waiting.push({ resolve, reject });
      if (this.#socket.destroyed) return reject(new Error("no Redis"));
      const parts = args.map((a) => `$${Buffer.byteLength(String(a))}\r\n${a}\r\n`);
      this.#socket.write(`*${args.length}\r\n${parts.join("")}`);
    });
  }

  /** Writes an entity, or takes it away. */
  async put(guild: string, type: string, id: string, entity: object | null): Promise<void> {
    const key = `guildcast:pool:{${guild}}:${type}`;
    await (entity ? this.command("HSET", key, id, JSON.stringify(entity)) : this.command("HDEL", key, id));
    // A node asks a worker, of which there is none, for users that it does not find.
    const user = { id, username: `user ${id}`, discriminator: "0" };
    if (entity && type === "member") await this.put("global", "user", id, user);
  }

  /** Publishes an event, and returns its position if it is durable. */
  async publish(
    guild: string, event: object, { logs = false, durable = true }: { logs?: boolean; durable?: boolean } = {},
  ): Promise<string | null> {
    const channel = logs ? `${guild}_logs` : guild;
    if (!durable) return void (await this.command("PUBLISH", channel, JSON.stringify(event))), null;
    const key = `guildcast:history:{${guild}}`;
    return (await this.command("EVAL", script(), 1, key, channel, JSON.stringify(event), 1000, 3_600_000)) as string;
  }

  close(): void {
    this.#socket.destroy();
  }

  /** Takes whole answers of one level: strings, numbers, errors. */
  #answer(): void {
    for (;;) {
      const end = this.#read.indexOf("\r\n");
      if (end < 0) return;
      const line = this.#read.subarray(1, end).toString();
      const kind = String.fromCharCode(this.#read[0]!);
      let next = end + 2, value: unknown = line;
      if (kind === "$" && line !== "-1") {
        next += Number(line) + 2;
        if (this.#read.length < next) return;
        value = this.#read.subarray(end + 2, next - 2).toString();
      }
      this.#read = this.#read.subarray(next);
      const waiting = this.#waiting.shift();
      if (kind === "-") waiting?.reject(new Error(line));
      else waiting?.resolve(value);
    }
  }
}

let guilds = 0;

/** Returns the id of a guild that no other test has. */
export const newGuild = (): string => String(4_200_000_000_000 + process.pid * 1_000 + ++guilds);

export const member = (id: string, more: object = {}): object => ({
  id, name: `name ${id}`, discriminator: "0001", joined_at: "2020-01-01T00:00:00Z", roles: [], ...more,
});

/** The event that says that members are as given. */
export const changed = (guild: string, ...data: object[]): object => ({
  kind: "member", payload: { type: "member", guild_id: guild, data, nonexistent: [] },
});

/** A log entry that everybody with VIEW_PUBLIC_LOGS sees, or with private only those with VIEW_PRIVATE_LOGS. */
export const entry = (guild: string, n: number, isPrivate = false): object => ({
  id: String(n), guild_id: guild, action_number: 3001, private: isPrivate, data: { content: `message ${n}` },
});
