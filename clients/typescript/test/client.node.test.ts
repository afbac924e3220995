// The client against a real node.
import { afterEach, beforeEach, describe, expect, inject, test } from "vitest";
import {
  connect, type Client, type ConnectOptions, type GuildcastError, type GuildEvent, type GuildView, type LogSnapshot,
} from "../src/index.js";
import { changed, entry, freePort, member, newGuild, Redis, startNode, token, type Claims } from "./node.js";
import { when } from "./wait.js";

const everything = 0x106; // logs and settings
const clients: Client[] = [];
let redis: Redis;
let guild: string;
let claims: Claims;

beforeEach(() => {
  redis = new Redis(inject("redis"));
  guild = newGuild();
  claims = { sub: "77", guilds: { [guild]: everything } };
});
afterEach(() => {
  for (const client of clients.splice(0)) client.close();
  redis.close();
});

function open(options: ConnectOptions = {}, url = inject("node")): Client {
  const client = connect(url, {
    getToken: () => token(claims), resyncJitter: 1, backoff: { first: 20, most: 100 }, ...options,
  });
  clients.push(client);
  return client;
}

const elevated = (client: Client): Promise<unknown> =>
  when(client.connection, (state) => state.elevation.status === "elevated");
const live = (view: GuildView): Promise<unknown> => when(view.state, (state) => state.status === "live");
const numbers = ({ entries }: LogSnapshot): number[] => entries.map((e) => Number(e.payload.id));
const upTo = (n: number, from = 1): number[] => Array.from({ length: n - from + 1 }, (_, i) => from + i);
/** Publishes log entries; returns once Redis has them. */
async function publish(from: number, to: number): Promise<void> {
  for (const n of upTo(to, from)) await redis.publish(guild, entry(guild, n), { logs: true });
}
const has = (view: GuildView, n: number): Promise<LogSnapshot> =>
  when(view.log, (log) => numbers(log).includes(n));

describe("connection", () => {
  test("connects, elevates, spectates, and says so", async () => {
    await redis.put(guild, "member", "1", member("1"));
    const client = open();
    expect(client.connection.getSnapshot()).toMatchObject({ status: "connecting", elevation: { status: "elevating" } });
    const view = client.spectate(guild, { load: ["member"] });
    expect(await view.ready).toMatchObject({ success: true, guild_id: guild, include_logs: true });
    await live(view);
    const state = client.connection.getSnapshot();
    expect(state).toMatchObject({
      status: "connected", nextTryAt: null, reason: null,
      elevation: { status: "elevated", userId: "77", error: null, guilds: { [guild]: everything } },
      spectating: { guildId: guild, logs: true, permissions: everything, live: true },
    });
    expect(state.transport).toMatch(/^(polling|websocket)$/);
    expect(state.elevation.expiresAt).toBeGreaterThan(Date.now() + 3_000_000);
    await when(client.connection, (s) => s.transport === "websocket");
  });

  test("waits for the next try while there is no node, and connects when there is one", async () => {
    const port = await freePort();
    const client = open({ backoff: { first: 50, most: 100 } }, `http://127.0.0.1:${port}`);
    const state = await when(client.connection, (s) => s.status === "waiting" && s.attempt > 1);
    expect(state.nextTryAt! - Date.now()).toBeLessThanOrEqual(100);
    expect(state.reason).toBeTruthy();
    const node = await startNode(inject("redis"), [], port);
    await elevated(client);
    await node.stop("SIGKILL");
    await when(client.connection, (s) => s.status === "waiting");
  });

  test("what it sends while it is away fails clearly, or waits for the connection", async () => {
    const client = open();
    await elevated(client);
    // The node asks a worker that does not exist, so that the answer is still out when the connection goes.
    const out = client.pool({ type: "role", guild_id: guild, request: "ids", ids: ["1"] });
    const reaches = expect(out).rejects.toMatchObject({
      name: "GuildcastError", code: 503, word: "disconnected", local: true,
    });
    client.disconnect();
    await reaches;
    expect(client.connection.getSnapshot()).toMatchObject({ status: "waiting", nextTryAt: null });
    await redis.put(guild, "channel", "5", { id: "5", name: "general" });
    const later = client.pool({ type: "channel", guild_id: guild });
    client.reconnect();
    expect((await later).data).toEqual([{ id: "5", name: "general" }]);
    await expect(client.pool({ type: "role", guild_id: guild, request: "ids", ids: ["1"] }, { timeout: 1 }))
      .rejects.toMatchObject({ code: 504, word: "timeout" });
    client.close();
    await expect(client.pool({ type: "role" })).rejects.toMatchObject({ word: "closed" });
  });
});

describe("elevation", () => {
  test("without a token nobody is logged in", async () => {
    const client = open({ getToken: undefined });
    await when(client.connection, (s) => s.status === "connected");
    await expect(client.pool({ type: "guild" })).rejects.toMatchObject({ code: 409, word: "not_elevated" });
    const answer = await client.elevate(() => token(claims));
    expect(answer.user_id).toBe("77");
    await client.demote();
    expect(client.connection.getSnapshot().elevation.status).toBe("none");
  });

  test("a token that is refused is asked for again", async () => {
    let asked = 0;
    const client = open({ getToken: () => (++asked === 1 ? "nonsense" : token(claims)) });
    const state = await when(client.connection, (s) => s.elevation.error !== null);
    expect(state.elevation.error).toMatchObject({ code: 401, word: "token_invalid", local: false });
    await elevated(client);
    expect(asked).toBe(2);
  });

  test("a token is replaced before it expires, without a gap", async () => {
    let asked = 0;
    // The node warns when half of the 12 s is over; the client is faster.
    const getToken = (): string => token({ ...claims, life: ++asked === 1 ? 12 : 3600 });
    const client = open({ getToken, refreshBefore: 11_000 });
    const view = client.spectate(guild);
    await view.ready;
    const soon = client.connection.getSnapshot().elevation.expiresAt!;
    const state = await when(client.connection, (s) => s.elevation.expiresAt! > soon);
    expect(Date.now()).toBeLessThan(soon);
    expect(asked).toBe(2);
    await publish(1, 1);
    await has(view, 1);
    expect(state.counts).toMatchObject({ connects: 1 });
  });

  test("a revoked token takes away what it showed, and a new one brings it back", async () => {
    await redis.put(guild, "member", "1", member("1"));
    let allowed: (token: string) => void = () => {};
    const later = new Promise<string>((resolve) => (allowed = resolve));
    const tokens = [Promise.resolve(token({ ...claims, jti: `bad ${guild}` })), later];
    const client = open({ getToken: () => tokens.shift()! });
    const view = client.spectate(guild, { load: ["member"] });
    await live(view);
    expect(view.entities.get("member", "1")).toBeDefined();
    const gone = new Promise((resolve) => client.on("expired", resolve));
    await redis.command("PUBLISH", "guildcast:revoke", JSON.stringify({ jti: `bad ${guild}` }));
    expect(await gone).toBe("revoked");
    expect(view.entities.of("member").getSnapshot().size).toBe(0);
    allowed(token(claims));
    await when(view.entities.of("member"), (members) => members.size === 1);
    await live(view);
  });

  test("another user sees nothing of what the former saw", async () => {
    await redis.put(guild, "member", "1", member("1"));
    const client = open();
    const view = client.spectate(guild, { load: ["member"] });
    await live(view);
    await publish(1, 1);
    await has(view, 1);
    await client.elevate(() => token({ sub: "78", guilds: {} }));
    await when(view.state, (state) => state.status === "ended");
    expect(view.state.getSnapshot().error).toMatchObject({ code: 403, word: "not_a_member" });
    expect(view.entities.of("member").getSnapshot().size).toBe(0);
    expect(view.log.getSnapshot().entries).toEqual([]);
  });
});

describe("guild", () => {
  test("opens with a backlog, and misses nothing over a reconnect", async () => {
    await publish(1, 30);
    const client = open();
    const view = client.spectate(guild, { backlog: 20 });
    await has(view, 30);
    expect(numbers(view.log.getSnapshot())).toEqual(upTo(30, 11));
    expect(view.log.getSnapshot().entries.every((e) => e.replayed)).toBe(true);
    await publish(31, 35);
    await has(view, 35);
    client.disconnect();
    await publish(36, 60);
    client.reconnect();
    await has(view, 60);
    await publish(61, 61);
    await has(view, 61);
    expect(numbers(view.log.getSnapshot())).toEqual(upTo(61, 11));
    expect(view.log.getSnapshot().entries.some((e) => e.gapBefore)).toBe(false);
    const { counts } = client.connection.getSnapshot();
    expect(counts).toMatchObject({ connects: 2, replays: 1, gaps: 0, resyncs: 0, doubles: 0 });
  });

  test("goes on at another node when its node is killed", async () => {
    const node = await startNode(inject("redis"));
    const client = open({}, node.url);
    const view = client.spectate(guild);
    await view.ready;
    await publish(1, 5);
    await has(view, 5);
    await node.stop("SIGKILL");
    await publish(6, 9);
    const other = await startNode(inject("redis"), [], Number(new URL(node.url).port));
    await has(view, 9);
    expect(numbers(view.log.getSnapshot())).toEqual(upTo(9));
    await other.stop("SIGKILL");
  });

  test("says so where the history does not reach back", async () => {
    await redis.put(guild, "member", "1", member("1", { nick: "before" }));
    let node = await startNode(inject("redis"));
    const client = open({}, node.url);
    const view = client.spectate(guild, { load: ["member"], backlog: 5 });
    await live(view);
    await publish(1, 3);
    await has(view, 3);
    await node.stop("SIGKILL"); // a node that heard the events would know that nothing is missing
    await redis.command("DEL", `guildcast:history:{${guild}}`);
    await redis.put(guild, "member", "1", member("1", { nick: "after" }));
    await publish(11, 13);
    const resync = new Promise((resolve) => client.on("resync", resolve));
    node = await startNode(inject("redis"), [], Number(new URL(node.url).port));
    expect(await resync).toEqual({ guild_id: guild, reason: "not_recovered" });
    await has(view, 13);
    await when(view.entities.of("member"), (members) => members.get("1")?.nick === "after");
    const { entries } = view.log.getSnapshot();
    expect(entries.map((e) => [Number(e.payload.id), e.gapBefore])).toEqual([
      [1, false], [2, false], [3, false], [11, true], [12, false], [13, false],
    ]);
    expect(client.connection.getSnapshot().counts).toMatchObject({ gaps: 1, replays: 0 });
    await node.stop("SIGKILL");
  });

  test("keeps entities right", async () => {
    for (const id of ["1", "2", "3"]) await redis.put(guild, "member", id, member(id));
    const client = open();
    const view = client.spectate(guild, { load: ["member"] });
    const events: GuildEvent[] = [];
    view.on((event) => events.push(event));
    await live(view);
    const members = view.entities.of("member");
    expect([...members.getSnapshot().keys()].sort()).toEqual(["1", "2", "3"]);
    await redis.put(guild, "member", "2", member("2", { nick: "Bo" }));
    const position = await redis.publish(guild, changed(guild, member("2", { nick: "Bo" })));
    await when(members, (m) => m.get("2")?.nick === "Bo");
    await redis.put(guild, "member", "3", null);
    const gone = { type: "member", guild_id: guild, data: [], nonexistent: ["3"] };
    await redis.publish(guild, { kind: "member", payload: gone });
    await when(members, (m) => m.size === 2);
    await redis.put(guild, "member", "4", member("4"));
    await redis.publish(guild, changed(guild, member("4")), { durable: false });
    await when(members, (m) => m.size === 3);
    expect(events.map((e) => [e.name, e.position === position, e.position === null])).toEqual([
      ["log_pool", true, false], ["log_pool", false, false], ["log_pool", false, true],
    ]);
    await redis.put(guild, "role", "9", { id: "9", name: "mods" });
    await view.fetch("role", ["9", "8"]).catch((e) => expect(e).toMatchObject({ code: 504 }));
  });

  test("what a lost right shows vanishes, and the rest stays", async () => {
    await redis.put(guild, "member", "1", member("1"));
    await redis.put(guild, "settingValue", "command_prefix", { id: "command_prefix", value: "!" });
    const client = open();
    const view = client.spectate(guild, { load: ["member", "settingValue"] });
    await live(view);
    await redis.publish(guild, entry(guild, 1, true), { logs: true });
    await redis.publish(guild, entry(guild, 2), { logs: true });
    await has(view, 2);
    expect(numbers(view.log.getSnapshot())).toEqual([1, 2]);
    expect(view.entities.get("settingValue", "command_prefix")?.value).toBe("!");

    claims = { sub: "77", guilds: { [guild]: 0x2 } }; // public logs only
    await client.elevate();
    expect(view.entities.get("settingValue", "command_prefix")).toBeUndefined();
    expect(numbers(view.log.getSnapshot())).toEqual([]);
    await has(view, 2);
    expect(numbers(view.log.getSnapshot())).toEqual([2]);
    await live(view);
    expect(view.entities.of("member").getSnapshot().size).toBe(1);
    expect(view.state.getSnapshot()).toMatchObject({ logs: true, permissions: 0x2, loaded: ["member"] });

    claims = { sub: "77", guilds: { [guild]: 0 } };
    await client.elevate();
    await when(view.state, (s) => !s.logs);
    expect(view.log.getSnapshot().entries).toEqual([]);
    await live(view);

    claims = { sub: "77", guilds: { [guild]: 0x106 } }; // and back
    await client.elevate();
    await when(view.state, (s) => s.logs);
    await has(view, 2);
    expect(numbers(view.log.getSnapshot())).toEqual([1, 2]);
    await when(view.state, (s) => s.loaded.includes("settingValue"));
    expect(view.entities.get("settingValue", "command_prefix")?.value).toBe("!");

    claims = { sub: "77", guilds: {} };
    await client.elevate();
    await when(view.state, (s) => s.status === "ended");
    expect(view.entities.of("member").getSnapshot().size).toBe(0);
  });

  test("is refused clearly", async () => {
    claims = { sub: "77", guilds: { [guild]: 0 } };
    const client = open();
    await expect(client.spectate("1").ready).rejects.toMatchObject({
      code: 403, word: "not_a_member", context: ["spectate"],
    });
    await expect(client.spectate(guild, { logs: true }).ready).rejects.toMatchObject({
      word: "permission_missing", details: { any_of: ["VIEW_PUBLIC_LOGS", "VIEW_PRIVATE_LOGS"] },
    });
    const view = client.spectate(guild);
    expect(await view.ready).toMatchObject({ include_logs: false });
    await expect(view.load("settingValue")).rejects.toMatchObject({ code: 403, word: "permission_missing" });
  });

  test("one at a time", async () => {
    const other = newGuild();
    claims.guilds[other] = everything;
    const client = open();
    const first = client.spectate(guild), second = client.spectate(other);
    await second.ready;
    await expect(first.ready).rejects.toMatchObject({ word: "closed" });
    expect(first.state.getSnapshot().status).toBe("ended");
    await redis.publish(guild, entry(guild, 1), { logs: true });
    await redis.publish(other, entry(other, 2), { logs: true });
    await has(second, 2);
    expect(first.log.getSnapshot().entries).toEqual([]);
    second.stop();
    await when(client.connection, (s) => s.spectating === null);
    await redis.publish(other, entry(other, 3), { logs: true });
    const third = client.spectate(other);
    await has(third, 3);
    expect(numbers(second.log.getSnapshot())).toEqual([2]);
  });
});

describe("pools", () => {
  test("as a promise, and in parts", async () => {
    await Promise.all(upTo(2_500).map((n) => redis.put(guild, "member", String(n), member(String(n)))));
    const client = open();
    const { data, users, nonexistent } = await client.pool({ type: "member", guild_id: guild });
    expect([data.length, users.size, nonexistent.length]).toEqual([2_500, 2_500, 0]);
    expect(users.get("7")?.username).toBe("user 7");
    let seen = 0, parts = 0;
    for await (const part of client.pool({ type: "member", guild_id: guild })) {
      parts++;
      if (part.type === "member") seen += part.data.length;
      else expect(part.data[0]!.username).toMatch(/^user /);
    }
    expect(seen).toBe(2_500);
    expect(parts).toBeGreaterThanOrEqual(6);
    for await (const part of client.pool({ type: "member", guild_id: guild })) {
      expect(part.finished).toBe(false);
      break; // gives the rest up
    }
  });

  test("give up when told, and fail clearly", async () => {
    const client = open();
    await elevated(client);
    const own = new AbortController();
    const answer = client.pool({ type: "role", guild_id: guild, request: "ids", ids: ["1"] }, { signal: own.signal });
    own.abort();
    await expect(answer).rejects.toMatchObject({ word: "aborted" });
    await expect(client.pool({ type: "settingValue", guild_id: "1" })).resolves.toMatchObject({ data: [] });
    const nothing = client.pool({ type: "member", guild_id: guild, request: "search" });
    await expect(nothing).rejects.toMatchObject({ code: 400 });
    await expect((async () => {
      for await (const part of client.pool({ type: "nothing" as never })) expect(part).toBeNull();
    })()).rejects.toMatchObject({ code: 400, word: "malformed" });
  });

  test("a search gives up the one before", async () => {
    await redis.put(guild, "member", "1", member("1", { name: "ana" }));
    await redis.put(guild, "member", "2", member("2", { name: "bo" }));
    const client = open();
    const search = (query: string): PromiseLike<unknown> => client.search({ type: "member", guild_id: guild, query })
      .then((r) => r.data.map((m) => m.id), (e: unknown) => (e as GuildcastError).word);
    expect(await Promise.all([search("a"), search("an"), search("bo")])).toEqual(["superseded", "superseded", ["2"]]);
    expect(await search("an")).toEqual(["1"]);
  });

  test("interpret needs nobody", async () => {
    const client = open({ getToken: undefined });
    const { actions } = await client.interpret({
      action: 3001, guild_id: 4211, message_id: 2, content: "!set hi::hey", allowed_commands: ["set"],
    });
    expect(actions).toMatchObject([{ action: 3001 }]);
    await expect(client.interpret({ action: 3001 } as never)).rejects.toMatchObject({ code: 400 });
  });
});
