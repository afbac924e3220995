import assert from "node:assert/strict";
import { after, before, test } from "node:test";

import { start } from "@guildcast/testserver";

const guild = "607637793107345431";
let node;

before(async () => {
  node = await start();
});
after(() => node.stop());

const member = (user, ...names) => node.connect(node.token({ user, guilds: { [guild]: names }, permissions: 0 }));

test("clients get the events that they may see", async () => {
  const [ana, blind] = await Promise.all([member("1", "VIEW_PUBLIC_LOGS"), member("2")]);
  await ana.spectate(guild, { include_logs: true, positions: true });
  await blind.spectate(guild);

  await node.publisher.publish(guild, { kind: "message", payload: 1 });
  const at = await node.publisher.publishDurably(guild, { kind: "message", payload: 2 }, { logs: true });
  await node.publisher.publish(guild, { kind: "guild", event: "end", payload: 3 });

  assert.deepEqual(await ana.wait("end"), { name: "end", payload: 3, position: null });
  assert.deepEqual(await ana.wait("log_other"), { name: "log_other", payload: 2, position: at });
  assert.deepEqual(ana.taken(), [{ name: "log_pool", payload: 1, position: null }]);
  await blind.wait("end");
  assert.deepEqual(blind.taken(), []);
});

test("pools hold what was written", async () => {
  await node.pools.replace(guild, "channel", [{ id: "1", name: "general" }, { id: "2", name: "bots" }]);
  const ana = await member("1");
  const all = await ana.pool({ type: "channel", guild_id: guild });
  assert.deepEqual(all.data.map(({ name }) => name).sort(), ["bots", "general"]);
  const some = await ana.pool({ type: "channel", guild_id: guild, ids: ["2", "3"] });
  assert.deepEqual(some, { data: [{ id: "2", name: "bots" }], nonexistent: ["3"] });
  await assert.rejects(ana.pool({ type: "settingValue", guild_id: guild }), /403 permission_missing/);
});

test("a revoked token ends the elevation", async () => {
  const eve = await node.connect(node.token({ user: "666", guilds: { [guild]: 6 } }));
  await node.revoke({ sub: "666" });
  assert.deepEqual((await eve.wait("elevation_expired")).payload, { reason: "revoked" });
});

test("waiting in vain says what came", async () => {
  const client = await node.connect();
  client.emit("demote", {});
  await client.wait(({ name, payload }) => name === "error" && payload.message === "token_missing");
  client.emit("spectate", {});
  await assert.rejects(client.wait("log_pool", { timeout: 500 }), /no log_pool in 500 ms; received .*malformed/);
  await assert.rejects(node.connect("no token"), /the elevation failed: .*token_invalid/);
  assert.throws(() => node.token({ user: "1", guilds: { [guild]: ["SEE_LOGS"] } }), /no permission SEE_LOGS/);
});

test("a worker of the test's answers", async () => {
  const own = await start({ worker: { fetch: ({ ids }) => ({ data: ids.map((id) => ({ id, name: `role ${id}` })) }) } });
  try {
    const ana = await own.connect(own.token({ user: "1", guilds: { [guild]: 0 } }));
    const { data } = await ana.pool({ type: "role", guild_id: guild, ids: "7" });
    assert.deepEqual(data, [{ id: "7", name: "role 7" }]);
  } finally {
    await own.stop();
  }
});

test("a node that does not start says why", async () => {
  await assert.rejects(start({ args: ["--redis", "nonsense://"] }), /did not start: it ended with code 2\n.*redis/s);
  await assert.rejects(start({ binary: "/no/such/program" }), /did not start: .*ENOENT/);
});

test("a node that is killed takes its clients along", async () => {
  const own = await start();
  const client = await own.connect();
  const gone = new Promise((resolve) => client.socket.once("disconnect", resolve));
  await own.kill();
  await gone;
  await own.stop();
});

test("starting and stopping is quick", async (t) => {
  let begin = performance.now();
  const own = await start();
  t.diagnostic(`started in ${(performance.now() - begin).toFixed()} ms`);
  begin = performance.now();
  await own.stop();
  t.diagnostic(`stopped in ${(performance.now() - begin).toFixed()} ms`);
});
