import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { test } from "node:test";

import {
  connect, InvalidEventError, Publisher, RedisRefusedError, RedisUnavailableError, script,
} from "@guildcast/server";

import { binary, browser, cleanup, client, eventually, guild, proxy, startNode, startRedis } from "./world.js";

const member = (n) => ({ kind: "member", payload: { n } });

async function connected(t, url) {
  const redis = await connect(url);
  cleanup(t, () => redis.destroy());
  return redis;
}

test("the script is the node's", () => {
  assert.equal(script, execFileSync(binary, ["publish", "--print-script"], { encoding: "utf8" }));
});

test("a browser gets plain and durable events, and no others", async (t) => {
  const { url } = await startRedis(t);
  const b = await browser(t, await startNode(t, url));
  const answer = await b.ask("spectate", { guild_id: guild, include_logs: true, positions: true });
  assert.equal(answer.success, true);
  const publisher = new Publisher(await connected(t, url));

  assert.equal(await publisher.publish(guild, member(1)), 1);
  const position = await publisher.publishDurably(guild, { ...member(2), event: "renamed" });
  assert.match(position, /^\d+-\d+$/);
  await publisher.publish(guild, { kind: "administrator", payload: "not for everybody" });
  const action = { id: "1", guild_id: guild, action_number: 3001, private: false, data: { text: "hello" } };
  const second = await publisher.publishDurably(guild, action, { logs: true });

  await b.event("log_other");
  const guildEvents = b.heard.filter(({ event }) => ["log_pool", "renamed", "log_other"].includes(event));
  assert.deepEqual(guildEvents.map(({ event, args }) => [event, ...args]), [
    ["log_pool", { n: 1 }, null], ["renamed", { n: 2 }, position], ["log_other", action, second],
  ]);
});

test("what would reach nobody is refused", async (t) => {
  const { url } = await startRedis(t);
  const publisher = new Publisher(await connected(t, url));
  for (const event of [
    null, {}, { kind: "member" }, { payload: 1 }, { kind: "", payload: 1 }, { kind: "member", payload: undefined },
    { ...member(1), event: "connect" }, { ...member(1), event: "" }, { ...member(1), private: "yes" },
    { ...member(1), requires: "VIEW_SETTING" }, { ...member(1), requires: [1.5] }, { ...member(1), privat: true },
    { kind: "member", payload: "x".repeat(4 << 20) },
    { action_number: 1 }, { id: "1", action_number: -1 }, { id: "1", action_number: 1, guild_id: "2" },
    { id: "1", action_number: 1, kind: "member" },
  ]) {
    await assert.rejects(publisher.publish(guild, event), InvalidEventError, JSON.stringify(event)?.slice(0, 80));
    await assert.rejects(publisher.publishDurably(guild, event), InvalidEventError);
  }
  await assert.rejects(publisher.publishDurably(guild, member(1), { idempotencyKey: '"' }), InvalidEventError);
  await assert.rejects(publisher.publish("x", member(1)), TypeError);
  await assert.rejects(publisher.publish(1, member(1)), TypeError);
  assert.equal(await (await client(t, url)).dbSize(), 0);
});

test("a durable event whose answer is lost comes once", async (t) => {
  const redis = await startRedis(t);
  const way = await proxy(t, redis.port);
  const b = await browser(t, await startNode(t, redis.url));
  await b.ask("spectate", { guild_id: guild, positions: true });
  const publisher = new Publisher(await connected(t, way.url));
  const before = await publisher.publishDurably(guild, member(0));
  way.loseAnswerOf("EVALSHA");
  const position = await publisher.publishDurably(guild, member(1));
  assert.equal(way.lost(), 1);
  const last = await publisher.publishDurably(guild, member(1)); // another one, though it looks the same
  way.loseAnswerOf("EVALSHA");
  const action = { id: "7", action_number: 1 };
  const fourth = await publisher.publishDurably(guild, action);
  assert.equal(way.lost(), 2);
  await b.event("log_pool", (payload) => payload.id === "7");
  assert.deepEqual(b.heard.filter(({ event }) => event === "log_pool").map(({ args }) => args), [
    [{ n: 0 }, before], [{ n: 1 }, position], [{ n: 1 }, last], [action, fourth],
  ]);
});

test("a plain event whose answer is lost is not repeated, and the error says what is uncertain", async (t) => {
  const redis = await startRedis(t);
  const way = await proxy(t, redis.port);
  const publisher = new Publisher(await connected(t, way.url));
  const listener = await client(t, redis.url);
  const heard = [];
  await listener.subscribe(guild, (message) => heard.push(message));
  way.loseAnswerOf("PUBLISH");
  await assert.rejects(publisher.publish(guild, member(1)), (error) => {
    assert.ok(error instanceof RedisUnavailableError);
    assert.equal(error.uncertain, true);
    return true;
  });
  await publisher.publish(guild, member(2));
  await eventually("both events", () => heard.length === 2);
});

test("an event waits for a Redis that is restarted, also one that is frozen", async (t) => {
  const redis = await startRedis(t);
  const publisher = new Publisher(await connected(t, redis.url), { retry: { timeout: 30_000, attemptTimeout: 200 } });
  const first = await publisher.publishDurably(guild, member(1));
  redis.process.kill("SIGKILL");
  await redis.ended;
  const waiting = publisher.publishDurably(guild, member(2));
  await redis.again();
  const second = await waiting;
  redis.process.kill("SIGSTOP"); // the attempts pile up in its socket
  const frozen = publisher.publishDurably(guild, member(3));
  await new Promise((resolve) => setTimeout(resolve, 700)); // three attempts
  redis.process.kill("SIGCONT");
  const third = await frozen;
  const looker = await client(t, redis.url);
  const entries = await looker.xRange(`guildcast:history:{${guild}}`, "-", "+");
  assert.deepEqual(entries.map(({ id }) => id), [first, second, third]);
});

test("an idempotency key of one's own holds across publishers", async (t) => {
  const { url } = await startRedis(t);
  const options = { idempotencyKey: "order-17" };
  const first = await new Publisher(await connected(t, url)).publishDurably(guild, member(1), options);
  const other = new Publisher(await connected(t, url));
  await other.publishDurably(guild, member(2));
  assert.equal(await other.publishDurably(guild, member(1), options), first);
  assert.equal(await (await client(t, url)).xLen(`guildcast:history:{${guild}}`), 2);
});

test("Redis's refusals and its absence have errors of their own", async (t) => {
  const redis = await startRedis(t);
  const publisher = new Publisher(await connected(t, redis.url), { retry: { timeout: 300 } });
  await (await client(t, redis.url)).set(`guildcast:history:{${guild}}`, "no stream");
  await assert.rejects(publisher.publishDurably(guild, member(1)),
    (error) => error instanceof RedisRefusedError && error.message.includes("WRONGTYPE"));
  redis.process.kill("SIGKILL");
  await redis.ended;
  await assert.rejects(publisher.publish(guild, member(1)), RedisUnavailableError);
  await assert.rejects(publisher.publishDurably(guild, member(1)), RedisUnavailableError);
});

test("events on sharded topics reach nodes that subscribe to those", async (t) => {
  const { url } = await startRedis(t);
  const b = await browser(t, await startNode(t, url, { GUILDCAST_TOPICS: "sharded", GUILDCAST_TOPIC_PREFIX: "gc:" }));
  await b.ask("spectate", { guild_id: guild });
  const publisher = new Publisher(await connected(t, url), { sharded: true, topicPrefix: "gc:" });
  assert.equal(await publisher.publish(guild, member(1)), 1);
  await publisher.publishDurably(guild, member(2));
  await b.event("log_pool", ({ n }) => n === 2);
});
