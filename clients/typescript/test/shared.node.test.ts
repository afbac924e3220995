// Many tabs, one connection: against a real node, over real channels; Web Locks are a model, for Node.js 20 has none.
import { afterEach, beforeEach, describe, expect, inject, test } from "vitest";
import { connect, GuildcastError, socketTransport, type Client, type GuildView } from "../src/index.js";
import { Hub } from "../src/shared/hub.js";
import { leaderLink, type Browser } from "../src/shared/leader.js";
import { messagePort, type ToHub, type ToTab } from "../src/shared/messages.js";
import { hold, TabTransport, type Link } from "../src/shared/tab.js";
import { changed, entry, member, newGuild, Redis, startNode, token, type Running } from "./node.js";
import { when } from "./wait.js";

/** The Web Locks of one browser. Each tab has its own end, which a tab that dies takes with it. */
class Locks {
  readonly #queues = new Map<string, { tab: string; run: () => Promise<void> }[]>();
  readonly #release = new Map<string, () => void>();

  of(tab: string): Browser["locks"] {
    const request = (name: string, a: unknown, b?: unknown): Promise<unknown> => {
      const callback = (b ?? a) as () => unknown;
      const { signal } = (b ? a : {}) as { signal?: AbortSignal };
      return new Promise((resolve, reject) => {
        const queue = this.#queues.get(name) ?? [];
        this.#queues.set(name, queue);
        const own = {
          tab,
          run: async () => {
            const dead = new Promise<void>((r) => this.#release.set(`${tab} ${name}`, r));
            await Promise.race([Promise.resolve(callback()).then(resolve, reject), dead]);
          },
        };
        signal?.addEventListener("abort", () => {
          const at = queue.indexOf(own);
          if (at > 0) queue.splice(at, 1);
          reject(new Error("aborted"));
        });
        queue.push(own);
        if (queue.length === 1) void this.#next(name);
      });
    };
    return { request } as Browser["locks"];
  }

  async #next(name: string): Promise<void> {
    const queue = this.#queues.get(name)!;
    while (queue.length > 0) {
      await queue[0]!.run();
      queue.shift();
    }
  }

  /** The tab is killed: its locks fall to others. */
  kill(tab: string): void {
    for (const [key, release] of this.#release) if (key.startsWith(`${tab} `)) release();
    for (const queue of this.#queues.values()) {
      for (let i = queue.length - 1; i > 0; i--) if (queue[i]!.tab === tab) queue.splice(i, 1);
    }
  }
}

interface Tab {
  client: Client;
  kill(): void;
}

const tabs: Tab[] = [];
let redis: Redis;
let node: Running;
let guild: string;

beforeEach(async () => {
  redis = new Redis(inject("redis"));
  node = await startNode(inject("redis"));
  guild = newGuild();
});
afterEach(async () => {
  for (const { client } of tabs.splice(0)) client.close();
  redis.close();
  await node.stop("SIGKILL");
});

/** A browser whose tabs share by a SharedWorker, or by a leader. */
function browser(mode: "worker" | "leader"): (user?: string, options?: { getToken?: () => string }) => Tab {
  const locks = new Locks();
  const name = `${node.url} ${Math.random()}`;
  const gone = (lock: string): Promise<void> => locks.of("worker").request(lock, () => {});
  const hub = new Hub((o) => socketTransport(o.url, o.io, o.backoff), gone);
  let tabs_ = 0;
  return (user = "77", options = {}) => {
    const tab = `${name} ${++tabs_}`;
    const channels: { close(): void }[] = [];
    const link: Link = mode === "leader" ? leaderLink({
      locks: locks.of(tab),
      channel: (channel) => {
        const made = new BroadcastChannel(channel);
        const post = made.postMessage.bind(made);
        let closed = false;
        // What is left of a tab that was killed speaks to nobody.
        made.postMessage = (message) => void (closed || post(message));
        channels.push({ close: () => ((closed = true), made.close()) });
        return made as unknown as ReturnType<Browser["channel"]>;
      },
    }, name, tab) : () => {
      const { port1, port2 } = new MessageChannel();
      channels.push(port1, port2);
      hub.serve(messagePort<ToHub, ToTab>(port2));
      return messagePort<ToTab, ToHub>(port1);
    };
    const held = hold(locks.of(tab), tab);
    const transport = new TabTransport(link, { url: node.url, backoff: { first: 20, most: 100 } }, held);
    const client = connect(node.url, {
      transport, resyncJitter: 1, ...options,
      getToken: options.getToken ?? (() => token({ sub: user, guilds: { [guild]: 0x106, "99": 0x106 } })),
    });
    // A tab that is killed says nothing any more.
    const opened = { client, kill: () => (channels.forEach((c) => c.close()), locks.kill(tab)) };
    tabs.push(opened);
    return opened;
  };
}

/** How many clients the node has, by its own count. */
async function connections(): Promise<number> {
  const metrics = await (await fetch(`${node.url}/metrics`)).text();
  const lines = metrics.split("\n").filter((line) => line.startsWith("guildcast_connections{"));
  return lines.reduce((sum, line) => sum + Number(line.split(" ").at(-1)), 0);
}

async function settles(expected: number): Promise<void> {
  while ((await connections()) !== expected) await new Promise((resolve) => setTimeout(resolve, 20));
}

const numbers = (view: GuildView): number[] => view.log.getSnapshot().entries.map((e) => Number(e.payload.id));
const has = (view: GuildView, n: number): Promise<unknown> => when(view.log, () => numbers(view).includes(n));
const upTo = (n: number, from = 1): number[] => Array.from({ length: n - from + 1 }, (_, i) => from + i);
async function publish(from: number, to: number): Promise<void> {
  for (const n of upTo(to, from)) await redis.publish(guild, entry(guild, n), { logs: true });
}

describe.each(["worker", "leader"] as const)("shared by a %s", (mode) => {
  test("ten tabs hold one connection, and each sees everything", async () => {
    await publish(1, 5);
    for (const id of ["1", "2"]) await redis.put(guild, "member", id, member(id));
    const open = browser(mode);
    const views = upTo(10).map(() => open().client.spectate(guild, { load: ["member"] }));
    await Promise.all(views.map((view) => when(view.state, (s) => s.status === "live")));
    await settles(1);
    await publish(6, 10);
    await redis.put(guild, "member", "2", member("2", { nick: "Bo" }));
    await redis.publish(guild, changed(guild, member("2", { nick: "Bo" })));
    await Promise.all(views.map((v) => when(v.entities.of("member"), (m) => m.get("2")?.nick === "Bo")));
    const late = open().client.spectate(guild, { load: ["member"], backlog: 8 });
    for (const view of [...views, late]) {
      await when(view.entities.of("member"), (m) => m.size === 2 && m.get("2")?.nick === "Bo");
      await has(view, 10);
    }
    for (const view of views) expect(numbers(view)).toEqual(upTo(10));
    // The backlog holds what is visible, one change of a member included.
    expect(numbers(late)).toEqual(upTo(10, 4));
    await settles(1);
    expect(await tabs[3]!.client.pool({ type: "member", guild_id: guild })).toMatchObject({ data: { length: 2 } });
  });

  test("a tab that was away misses nothing", async () => {
    const open = browser(mode);
    const [a, b] = [open(), open()];
    const [left, right] = [a.client.spectate(guild), b.client.spectate(guild)];
    await Promise.all([left.ready, right.ready]);
    await publish(1, 3);
    await Promise.all([has(left, 3), has(right, 3)]);
    a.client.disconnect();
    await publish(4, 9);
    await has(right, 9);
    a.client.reconnect();
    await has(left, 9);
    expect(numbers(left)).toEqual(upTo(9));
    expect(a.client.connection.getSnapshot().counts).toMatchObject({ replays: 1, gaps: 0, doubles: 0 });
    expect(b.client.connection.getSnapshot().counts).toMatchObject({ connects: 1, doubles: 0 });
  });

  test("a node that ends costs no tab an event", async () => {
    const open = browser(mode);
    const views = upTo(3).map(() => open().client.spectate(guild));
    await Promise.all(views.map((view) => view.ready));
    await publish(1, 3);
    await Promise.all(views.map((view) => has(view, 3)));
    const port = Number(new URL(node.url).port);
    await node.stop("SIGKILL");
    await Promise.all(tabs.map(({ client }) => when(client.connection, (s) => s.status === "waiting")));
    expect(tabs[1]!.client.connection.getSnapshot().nextTryAt).not.toBeNull();
    await publish(4, 6);
    node = await startNode(inject("redis"), [], port);
    for (const view of views) {
      await has(view, 6);
      expect(numbers(view)).toEqual(upTo(6));
    }
    await settles(1);
  });

  test("tabs that are killed leave, the last with the connection", async () => {
    const open = browser(mode);
    const [a, b] = [open(), open()];
    const views = [a, b].map(({ client }) => client.spectate(guild));
    await Promise.all(views.map((view) => view.ready));
    await publish(1, 2);
    await Promise.all(views.map((view) => has(view, 2)));
    a.kill(); // the leader, if there is one
    await publish(3, 5);
    await has(views[1]!, 5);
    expect(numbers(views[1]!)).toEqual(upTo(5));
    b.client.close();
    // A leader that was killed took its connection with it; here its code lives on.
    if (mode === "worker") await settles(0);
  });

  test("another guild and another user cost a connection more", async () => {
    const open = browser(mode);
    const [a, b, c] = [open(), open(), open("78")];
    await Promise.all([a.client.spectate(guild).ready, b.client.spectate(guild).ready, c.client.spectate(guild).ready]);
    await settles(2);
    expect(c.client.connection.getSnapshot().elevation.userId).toBe("78");
    const other = b.client.spectate("99");
    await when(other.state, (s) => s.status === "live");
    await settles(3);
    await redis.publish("99", entry("99", 1), { logs: true });
    await has(other, 1);
    other.stop();
    b.client.close();
    await settles(2);
  });

  test("one tab's new token serves all, and giving up in one leaves the others", async () => {
    let asked = 0;
    const open = browser(mode);
    const mint = (life: number) => () => {
      asked++;
      return token({ sub: "77", guilds: { [guild]: 0x106 }, life });
    };
    await redis.put(guild, "member", "1", member("1"));
    const [a, b] = [open("77", { getToken: mint(600) }), open("77", { getToken: mint(600) })];
    const views = [a, b].map(({ client }) => client.spectate(guild));
    await Promise.all(views.map((view) => view.ready));
    const before = b.client.connection.getSnapshot().elevation.expiresAt!;
    await a.client.elevate(mint(3600));
    await when(b.client.connection, (s) => s.elevation.expiresAt! > before);
    expect(asked).toBe(3);
    await a.client.demote();
    await publish(1, 1);
    await has(views[1]!, 1);
    expect(numbers(views[0]!)).toEqual([]);
    await expect(a.client.pool({ type: "member", guild_id: guild })).rejects.toBeInstanceOf(GuildcastError);
    expect((await b.client.pool({ type: "member", guild_id: guild })).data).toHaveLength(1);
  });

  test("what one may no longer see reaches no tab", async () => {
    const open = browser(mode);
    const [a, b] = [open(), open()];
    const views = [a, b].map(({ client }) => client.spectate(guild));
    await Promise.all(views.map((view) => view.ready));
    await publish(1, 1);
    await Promise.all(views.map((view) => has(view, 1)));
    await a.client.elevate(() => token({ sub: "77", guilds: { [guild]: 0 }, life: 7200 }));
    await Promise.all(views.map((view) => when(view.state, (s) => !s.logs && s.status === "live")));
    expect(views.map(numbers)).toEqual([[], []]);
    const getToken = (): string => token({ sub: "77", guilds: { [guild]: 0 } });
    const late = open("77", { getToken }).client.spectate(guild, { backlog: 10 });
    await late.ready;
    await redis.put(guild, "member", "1", member("1"));
    await redis.publish(guild, changed(guild, member("1")));
    await when(late.entities.of("member"), (m) => m.size === 1);
    expect(numbers(late)).toEqual([]);
  });
});
