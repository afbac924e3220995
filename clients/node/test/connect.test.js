import assert from "node:assert/strict";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";

import { createClient as createClient6 } from "redis";
import { createClient as createClient5 } from "redis-5";

import { connect, Emitter, Pools, Publisher, revoke, Worker } from "@guildcast/server";

import { another, cleanup, client, eventually, freePort, guild, start, startRedis } from "./world.js";

/** everything uses each part of the kit over one connection. */
async function everything(t, redis, looker) {
  cleanup(t, () => redis.destroy());
  const publisher = new Publisher(redis), pools = new Pools(redis);
  const heard = [];
  const channels = [guild, "socket.io#/#", "guildcast:revoke", "reply"];
  await looker.subscribe(channels, (message, channel) => heard.push(channel));
  for (let n = 0; n < 5; n++) await publisher.publish(guild, { kind: "member", payload: n });
  assert.match(await pools.update(publisher, guild, "member", { id: "1" }), /^\d+-\d+$/);
  await pools.setOnline(guild, "1");
  await new Emitter(redis).emit("hello");
  await revoke(redis, { jti: "x" });
  const stop = new AbortController();
  const errors = [];
  const worker = new Worker(redis, { all: () => ({ data: [] }) }, { onError: (error) => errors.push(error) });
  const running = worker.run(stop.signal);
  const other = await another(t, looker);
  await other.sendCommand(["XADD", "guildcast:requests:pool:0", "*", "id", "1", "method", "all", "args", "{}",
    "reply_to", "reply", "deadline", String(Date.now() + 60_000)]);
  await eventually("everything to be heard", () => heard.length >= 9);
  stop.abort();
  await running;
  assert.deepEqual(errors, []);
  assert.deepEqual(heard.sort(), [...Array(6).fill(guild), "guildcast:revoke", "reply", "socket.io#/#"].sort());
}

test("a Redis Cluster", async (t) => {
  const { url, port } = await startRedis(t, "--cluster-enabled", "yes", "--cluster-port", String(await freePort()));
  const looker = await client(t, url);
  await looker.sendCommand(["CLUSTER", "ADDSLOTSRANGE", "0", "16383"]);
  await eventually("the cluster", async () =>
    (await looker.sendCommand(["CLUSTER", "INFO"])).includes("cluster_state:ok"));
  await everything(t, await connect(`redis+cluster://127.0.0.1:${port}`), looker);
});

for (const [name, createClient] of [["5", createClient5], ["6", createClient6]]) {
  test(`a client of node-redis ${name}`, async (t) => {
    const { url } = await startRedis(t);
    const redis = createClient({ url });
    redis.on("error", () => {});
    await redis.connect();
    await everything(t, redis, await client(t, url));
  });
}

test("Sentinel, also when it makes the replica the primary", async (t) => {
  const primary = await startRedis(t);
  const { url, port } = primary;
  const replica = await startRedis(t, "--replicaof", "127.0.0.1", String(port));
  const sentinel = await freePort();
  const dir = mkdtempSync(join(tmpdir(), "kit-sentinel-"));
  cleanup(t, () => rmSync(dir, { recursive: true, force: true }));
  const file = join(dir, "sentinel.conf");
  writeFileSync(file, `port ${sentinel}\nbind 127.0.0.1\nsentinel monitor bot 127.0.0.1 ${port} 1\n` +
    "sentinel down-after-milliseconds bot 500\nsentinel failover-timeout bot 5000\n");
  start(t, "redis-server", [file, "--sentinel"]);
  const asker = await client(t, `redis://127.0.0.1:${sentinel}`);
  const sentinels = `redis+sentinel://127.0.0.1:${sentinel}/bot`;
  await everything(t, await connect(sentinels), await client(t, url));

  await eventually("the replica to be known", async () =>
    JSON.stringify(await asker.sendCommand(["SENTINEL", "REPLICAS", "bot"])).includes('"master-link-status":"ok"'));
  const redis = await connect(sentinels);
  cleanup(t, () => redis.destroy());
  const publisher = new Publisher(redis, { retry: { timeout: 60_000 } });
  const before = await publisher.publishDurably(guild, { kind: "member", payload: 1 });
  const heir = await client(t, replica.url);
  await eventually("the event to be replicated", () => heir.xLen(`guildcast:history:{${guild}}`).then((n) => n === 2));
  primary.process.kill("SIGKILL");
  const after = await publisher.publishDurably(guild, { kind: "member", payload: 2 });
  const entries = await heir.xRange(`guildcast:history:{${guild}}`, "-", "+");
  assert.deepEqual(entries.slice(1).map(({ id }) => id), [before, after]);
});

test("the rights that the documents give to a worker and a publisher are enough", async (t) => {
  const { url, port } = await startRedis(t);
  const page = readFileSync(new URL("../../../docs/reference/redis.md", import.meta.url), "utf8");
  const looker = await client(t, url);
  for (const user of ["worker", "publisher"]) {
    const [command] = new RegExp("^ACL SETUSER " + user + " [^`]*", "m").exec(page);
    await looker.sendCommand(command.replaceAll("\\\n", " ").trim().split(/\s+/));
  }
  const as = async (user) => {
    const redis = await connect(`redis://${user}:password@127.0.0.1:${port}`);
    cleanup(t, () => redis.destroy());
    return redis;
  };
  const publisher = new Publisher(await as("publisher"));
  await publisher.publish(guild, { kind: "member", payload: 1 });
  const pools = new Pools(await as("worker"));
  await pools.replace(guild, "member", [{ id: "1" }]);
  await pools.update(publisher, guild, "member", { id: "1" });
  await pools.delete(publisher, guild, "member", "1");
  await pools.setOnline(guild, "1");
  await pools.setOffline(guild, "1");
  const stop = new AbortController(), errors = [];
  const onReady = () => setTimeout(() => stop.abort(), 1_500); // a few rounds of everything
  await new Worker(await as("worker"), { all: () => ({ data: [] }) }, { onReady, onError: (e) => errors.push(e) })
    .run(stop.signal);
  assert.deepEqual(errors, []);
});

test("passwords, databases and wrong URLs", async (t) => {
  const { url, port } = await startRedis(t);
  await (await client(t, url)).sendCommand(
    ["ACL", "SETUSER", "bot", "on", ">p@ss/word", "~*", "&*", "+@all"]);
  const redis = await connect(`redis://bot:p%40ss%2Fword@127.0.0.1:${port}/3`);
  cleanup(t, () => redis.destroy());
  await new Pools(redis).put(guild, "member", { id: "1" });
  const looker = await client(t, `${url}/3`);
  assert.equal(await looker.hLen(`guildcast:pool:{${guild}}:member`), 1);
  for (const wrong of ["", "http://x", "redis://a:secret@h,i", "redis://h/x", "redis+sentinel://secret@h",
    "redis+cluster://h/1", "redis://h:port", "redis://h/1/2", "redis://user:sec/ret@h"]) {
    await assert.rejects(connect(wrong), (error) => error instanceof TypeError && !error.message.includes("secret"));
  }
});
