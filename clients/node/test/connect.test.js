import assert from "node:assert/strict";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";

import { connect, Emitter, Pools, Publisher, revoke, Worker } from "@guildcast/server";

import { another, cleanup, client, eventually, freePort, guild, start, startRedis } from "./world.js";

/** everything uses each part of the kit over one connection. */
async function everything(t, url, looker) {
  const redis = await connect(url);
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
  const running = new Worker(redis, { all: () => ({ data: [] }) }).run(stop.signal);
  const other = await another(t, looker);
  await other.sendCommand(["XADD", "guildcast:requests:pool:0", "*", "id", "1", "method", "all", "args", "{}",
    "reply_to", "reply", "deadline", String(Date.now() + 60_000)]);
  await eventually("everything to be heard", () => heard.length >= 9);
  stop.abort();
  await running;
  assert.deepEqual(heard.sort(), [...Array(6).fill(guild), "guildcast:revoke", "reply", "socket.io#/#"].sort());
}

test("a Redis Cluster", async (t) => {
  const { url, port } = await startRedis(t, "--cluster-enabled", "yes");
  const looker = await client(t, url);
  await looker.sendCommand(["CLUSTER", "ADDSLOTSRANGE", "0", "16383"]);
  await eventually("the cluster", async () =>
    (await looker.sendCommand(["CLUSTER", "INFO"])).includes("cluster_state:ok"));
  await everything(t, `redis+cluster://127.0.0.1:${port}`, looker);
});

test("Sentinel", async (t) => {
  const { url, port } = await startRedis(t);
  const sentinel = await freePort();
  const dir = mkdtempSync(join(tmpdir(), "kit-sentinel-"));
  cleanup(t, () => rmSync(dir, { recursive: true, force: true }));
  const file = join(dir, "sentinel.conf");
  writeFileSync(file, `port ${sentinel}\nbind 127.0.0.1\nsentinel monitor bot 127.0.0.1 ${port} 1\n`);
  start(t, "redis-server", [file, "--sentinel"]);
  await client(t, `redis://127.0.0.1:${sentinel}`);
  await everything(t, `redis+sentinel://127.0.0.1:${sentinel}/bot`, await client(t, url));
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
