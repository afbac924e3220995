// What depends on time, by a clock that tests turn.
import { afterEach, beforeEach, describe, expect, test, vi } from "vitest";
import { fake, settled } from "./fake.js";

beforeEach(() => void vi.useFakeTimers());
afterEach(() => void vi.useRealTimers());

const pass = (ms: number): Promise<unknown> => vi.advanceTimersByTimeAsync(ms);

describe("elevation", () => {
  test("a token is replaced a minute before its end, and not much earlier", async () => {
    let asked = 0;
    const { node, client } = fake({ getToken: () => `token ${++asked}` });
    expect(await node.connect()).toBe("token 1");
    node.elevate(3600);
    await pass(3_500_000);
    expect(asked).toBe(1);
    await pass(40_001);
    expect(asked).toBe(2);
    const { token, _id } = node.take("request_elevation");
    expect(token).toBe("token 2");
    node.elevate(3600, { _id });
    await settled();
    // Requests carry the new one.
    void client.pool({ type: "guild" }).catch(() => {});
    expect(node.take("pool")).toMatchObject({ token: "token 2", type: "guild", positions: true });
    await pass(3_600_000 - 60_000);
    expect(asked).toBe(3);
    client.close();
  });

  test("the node's warning replaces it sooner, whatever the clock says", async () => {
    let asked = 0;
    const { node, client } = fake({ getToken: () => `token ${++asked}` });
    await node.connect();
    node.elevate(100_000);
    node.say("elevation_expiring", { expires_at: 1 });
    await settled();
    expect(node.take("request_elevation").token).toBe("token 2");
    client.close();
  });

  test("a clock that is wrong does not ask for token after token", async () => {
    let asked = 0;
    const { node, client } = fake({ getToken: () => `token ${++asked}` });
    await node.connect();
    for (let i = 0; i < 6; i++) {
      node.elevate(-7200, node.sent.length > 0 ? { _id: node.take("request_elevation")._id } : {});
      await pass(5_000);
    }
    expect(asked).toBeLessThanOrEqual(7);
    client.close();
  });

  test("a token that can't be had is asked for again, ever more seldom, while the old one holds", async () => {
    const asked: number[] = [];
    let works = true;
    const { node, client } = fake({
      getToken: () => {
        asked.push(Date.now());
        if (!works) throw new Error("the API is away");
        return "token";
      },
    });
    await node.connect();
    node.elevate(300);
    works = false;
    await pass(260_000);
    expect(client.connection.getSnapshot().elevation).toMatchObject({
      status: "elevated", error: { word: "unexpected", human: "the API is away", local: true },
    });
    const waits = asked.slice(2).map((at, i) => at - asked[i + 1]!);
    expect(waits.length).toBeGreaterThanOrEqual(3);
    waits.slice(0, 4).forEach((wait, i) => {
      expect(wait).toBeGreaterThanOrEqual(500 * 2 ** i);
      expect(wait).toBeLessThanOrEqual(1_000 * 2 ** i);
    });
    works = true;
    while (node.sent.length === 0) await pass(1_000);
    node.elevate(300, { _id: node.take("request_elevation")._id });
    await settled();
    expect(client.connection.getSnapshot().elevation).toMatchObject({ status: "elevated", error: null });
    client.close();
  });

  test("refused four times, it gives up, and says why to all that wait", async () => {
    const { node, client } = fake();
    await node.connect();
    const waiting = client.pool({ type: "guild" }, { timeout: 60_000 }).catch((e: unknown) => e);
    const view = client.spectate("1");
    const refused = { success: false, error: { code: 401, message: "token_revoked" } };
    node.say("request_elevation_return", refused);
    for (let i = 0; i < 3; i++) {
      await pass(10_000);
      node.say("request_elevation_return", { ...refused, _id: node.take("request_elevation")._id });
    }
    await settled();
    const { elevation } = client.connection.getSnapshot();
    expect(elevation).toMatchObject({ status: "failed", error: { word: "token_revoked" } });
    expect(await waiting).toMatchObject({ code: 401, word: "token_revoked" });
    expect(view.state.getSnapshot().status).toBe("waiting");
    await pass(600_000);
    expect(node.sent).toEqual([]);
    // Somebody logs in again.
    const again = client.elevate();
    await settled();
    node.elevate(3600, { _id: node.take("request_elevation")._id });
    expect(await again).toMatchObject({ user_id: "77" });
    node.spectating();
    expect(await view.ready).toMatchObject({ guild_id: "1" });
    client.close();
  });

  test("a getToken that hangs holds nothing up for ever", async () => {
    const { node, client } = fake({ getToken: () => new Promise(() => {}), requestTimeout: 1_000 });
    const connected = node.connect();
    await pass(1_000);
    expect(await connected).toBeNull();
    expect(client.connection.getSnapshot()).toMatchObject({
      status: "connected", elevation: { status: "elevating", error: { word: "timeout" } },
    });
    client.close();
  });

  test("a token at hand serves the next connection", async () => {
    let asked = 0;
    const { node, client } = fake({ getToken: () => `token ${++asked}` });
    await node.connect();
    node.elevate(3600);
    node.handlers.disconnected("transport close", Date.now() + 500);
    expect(client.connection.getSnapshot()).toMatchObject({ status: "waiting", nextTryAt: Date.now() + 500 });
    expect(await node.connect()).toBe("token 1");
    node.elevate(3600);
    await pass(3_600_000 - 20_000);
    node.handlers.disconnected("transport close", null);
    expect(await node.connect()).not.toBe("token 1");
    client.close();
  });
});

describe("requests", () => {
  test("time out, each part anew", async () => {
    const { node, client } = fake({ requestTimeout: 1_000 });
    await node.connect();
    node.elevate(3600);
    const whole = client.pool({ type: "member", guild_id: "1" }).catch((e: unknown) => e);
    const { _id } = node.take("pool");
    for (let i = 0; i < 5; i++) {
      await pass(900);
      node.say("pool_response", { _id, type: "member", guild_id: "1", data: [], nonexistent: [], finished: false });
    }
    await pass(1_000);
    expect(await whole).toMatchObject({ code: 504, word: "timeout", local: true });
    // A part that comes too late is nobody's.
    node.say("pool_response", { _id, type: "member", guild_id: "1", data: [], nonexistent: [], finished: true });
    client.close();
  });

  test("no more than the node takes of a socket are out at once", async () => {
    const { node, client } = fake();
    await node.connect();
    node.elevate(3600);
    const all = Array.from({ length: 200 }, () => client.pool({ type: "guild" }));
    expect(node.sent.length).toBe(32);
    for (let i = 0; i < 200; i++) node.pool([{ id: String(i) }]);
    expect((await Promise.all(all)).length).toBe(200);
    client.close();
  });
});

describe("resync", () => {
  test("reloads what is on display once, spread over a while", async () => {
    const { node, client } = fake({ resyncJitter: 1_000 });
    await node.connect();
    node.elevate(3600);
    const view = client.spectate("1", { load: ["channel"], logs: false });
    node.spectating();
    node.pool([{ id: "5", name: "old" }, { id: "6", name: "gone" }], "10-0");
    await settled();
    expect(view.state.getSnapshot()).toMatchObject({ status: "live", loaded: ["channel"] });
    const random = vi.spyOn(Math, "random").mockReturnValue(0.5);
    for (let i = 0; i < 3; i++) node.say("resync", { guild_id: "1", reason: "redis_lost" });
    node.say("resync", { guild_id: "2", reason: "redis_lost" }); // not ours
    expect(view.state.getSnapshot()).toMatchObject({ status: "reconciling", loading: ["channel"] });
    await pass(499);
    expect(node.sent).toEqual([]);
    await pass(1);
    expect(node.sent.length).toBe(1);
    node.pool([{ id: "5", name: "new" }], "12-0");
    await settled();
    expect(view.entities.get("channel", "5")?.name).toBe("new");
    expect(view.entities.get("channel", "6")).toBeUndefined();
    expect(client.connection.getSnapshot().counts.resyncs).toBe(4);
    random.mockRestore();
    client.close();
  });

  test("what fails for now is tried again", async () => {
    const { node, client } = fake();
    await node.connect();
    node.elevate(3600);
    const view = client.spectate("1", { load: ["channel"] });
    const { _id } = node.take("spectate");
    node.fail("redis_unavailable", 503, _id);
    await settled();
    expect(view.state.getSnapshot()).toMatchObject({ status: "waiting", error: { word: "redis_unavailable" } });
    await pass(1_000);
    node.spectating();
    const asked = node.take("pool");
    node.fail("backend_timeout", 504, asked._id);
    await pass(1_000);
    node.pool([{ id: "5", name: "a" }]);
    await settled();
    expect(view.state.getSnapshot()).toMatchObject({ status: "live", error: null });
    client.close();
  });
});

describe("positions", () => {
  test("go on from the latest event, also when the connection is cut within a replay", async () => {
    const { node, client } = fake();
    await node.connect();
    node.elevate(3600);
    const view = client.spectate("1", { backlog: 3 });
    expect(node.sent.at(-1)?.payload).toMatchObject({ include_logs: true, positions: true, backlog: 3 });
    node.spectating({ position: "9-0", replayed: 3 });
    node.say("log_other", { id: "1", action_number: 1 }, "5-0");
    node.say("log_other", { id: "2", action_number: 1 }, "6-0");
    node.handlers.disconnected("transport close", 0);
    await node.connect();
    node.elevate(3600);
    expect(node.sent.at(-1)?.payload).toMatchObject({ since: "6-0" });
    node.spectating({ position: "9-0", replayed: 1, recovered: true });
    node.say("log_other", { id: "3", action_number: 1 }, "7-0");
    expect(client.connection.getSnapshot().spectating?.position).toBe("9-0");
    node.say("log_other", { id: "3", action_number: 1 }, "7-0"); // a double
    node.say("log_other", { id: "4", action_number: 1 }, null);
    node.say("log_other", { id: "5", action_number: 1 }, "10-0");
    expect(view.log.getSnapshot().entries.map((e) => [e.payload.id, e.replayed])).toEqual([
      ["1", true], ["2", true], ["3", true], ["4", false], ["5", false],
    ]);
    expect(client.connection.getSnapshot().counts).toMatchObject({ replays: 1, doubles: 1, events: 2, replayed: 3 });
    client.close();
  });
});

describe("a pool that was refused", () => {
  const prefix = { id: "command_prefix", value: "!" };

  async function spectating() {
    const { node, client } = fake();
    await node.connect();
    node.elevate(3600, { guilds: { "1": 0x6 } });
    const view = client.spectate("1");
    await settled();
    node.spectating({ permissions: 0x6 });
    /** The user may see settings from now on. */
    const permit = async (): Promise<void> => {
      node.elevate(3600, { guilds: { "1": 0x106 } });
      await pass(0);
    };
    return { node, client, view, permit };
  }

  test("is asked for again when the right comes, whole or by ids", async () => {
    for (const ask of ["load", "fetch"] as const) {
      const { node, client, view, permit } = await spectating();
      const asked = ask === "load" ? view.load("settingValue") : view.fetch("settingValue", [prefix.id]);
      await settled();
      node.fail("permission_missing", 403, node.take("pool")._id);
      await expect(asked).rejects.toMatchObject({ word: "permission_missing" });
      expect(view.state.getSnapshot()).toMatchObject({ status: "live", loading: [], loaded: [] });
      await permit();
      expect(node.pool([prefix])).toMatchObject({ type: "settingValue", request: ask === "load" ? "all" : "ids" });
      await settled();
      expect(view.entities.get("settingValue", prefix.id)?.value).toBe("!");
      expect(view.state.getSnapshot().status).toBe("live");
      client.close();
    }
  });

  test("is asked for again if the right came while it was refused", async () => {
    const { node, client, view, permit } = await spectating();
    const loaded = view.load("settingValue");
    await settled();
    const { _id } = node.take("pool");
    await permit();
    node.fail("permission_missing", 403, _id);
    await pass(2_000);
    node.pool([prefix]);
    await loaded;
    expect(view.entities.get("settingValue", prefix.id)?.value).toBe("!");
    client.close();
  });

  test("is a new request if somebody asks for it", async () => {
    const { node, client, view } = await spectating();
    const first = view.load("settingValue");
    await settled();
    node.fail("permission_missing", 403, node.take("pool")._id);
    await expect(first).rejects.toMatchObject({ code: 403 });
    const second = view.load("settingValue");
    expect(view.state.getSnapshot().loading).toEqual(["settingValue"]);
    await settled();
    node.pool([prefix]);
    await second;
    expect(view.state.getSnapshot().loaded).toEqual(["settingValue"]);
    client.close();
  });
});
