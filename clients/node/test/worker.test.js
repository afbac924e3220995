import assert from "node:assert/strict";
import { test } from "node:test";
import { fileURLToPath } from "node:url";

import { connect, RequestError, Worker } from "@guildcast/server";

import { another, browser, cleanup, client, eventually, guild, start, startNode, startRedis } from "./world.js";

const stream = "guildcast:requests:pool:0";

/** work runs a worker until the test ends or stop is called, and returns once it takes requests. */
async function work(t, url, handlers, options = {}) {
  const redis = await connect(url);
  const stop = new AbortController();
  const errors = [];
  let ready;
  const isReady = new Promise((resolve) => (ready = resolve));
  const worker = new Worker(redis, handlers, { onError: (e) => errors.push(e), onReady: ready, ...options });
  const running = worker.run(stop.signal);
  const end = () => {
    stop.abort();
    return running;
  };
  cleanup(t, async () => {
    await end();
    redis.destroy();
  });
  await isReady;
  return { worker, stop: end, errors };
}

/** request puts a request into Redis as a node does, and returns what is published about it. */
async function request(t, redis, fields) {
  const listener = await another(t, redis);
  const replyTo = `guildcast:replies:${Math.random()}`;
  const replies = [];
  await listener.subscribe(replyTo, (message) => replies.push(JSON.parse(message)));
  const full = {
    id: "r", method: "fetch", args: '{"type":"member","guild_id":"1","ids":["2"]}', reply_to: replyTo,
    deadline: String(Date.now() + 60_000), ...fields,
  };
  for (const [name, value] of Object.entries(full)) if (value === undefined) delete full[name];
  const entry = await redis.xAdd(fields.stream ?? stream, "*", full);
  return { entry, replies };
}

const settled = (redis) => eventually("an empty stream", async () =>
  (await redis.xLen(stream)) === 0 && (await redis.xPending(stream, "workers")).pending === 0);

test("a browser gets what a worker answers", async (t) => {
  const { url } = await startRedis(t);
  const members = Array.from({ length: 2500 }, (_, i) => ({ id: String(1000 + i), name: `member ${i}` }));
  const { worker } = await work(t, url, {
    fetch: ({ type, guild_id, ids }) => {
      assert.equal(guild_id ?? guild, guild);
      if (type === "channel") throw new RequestError(403, "secret");
      if (type === "role") throw new Error("a bug");
      const data = members.filter(({ id }) => ids.includes(id));
      return { data, nonexistent: ids.filter((id) => !data.some((e) => e.id === id)) };
    },
    async *all() {
      yield { data: members.slice(0, 1200) };
      yield { data: members.slice(1200) };
    },
    interpret: ({ guild_id, message_id, content }) => ({
      guild_id, actions: [{ action: 3001, message_id: message_id + 1, content: `you said ${content}` }],
    }),
  });
  const b = await browser(t, await startNode(t, url, { GUILDCAST_INTERPRETER: "worker" }));
  const parts = (id) => b.heard.filter(({ event, args }) => event === "pool_response" && args[0]._id === id)
    .map(({ args }) => args[0]);

  const some = await b.ask("pool", { _id: 1, type: "member", guild_id: guild, ids: ["1001", "7"] });
  assert.deepEqual(some.nonexistent, ["7"]);
  assert.deepEqual(parts(1).flatMap(({ type, data }) => type === "member" ? data : []), [members[1]]);
  await b.ask("pool", { _id: 2, type: "member", guild_id: guild });
  assert.deepEqual(parts(2).flatMap(({ type, data }) => type === "member" ? data : []), members);
  const refused = await b.ask("pool", { _id: 3, type: "channel", guild_id: guild, ids: ["1"] });
  assert.deepEqual([refused.code, refused.message], [403, "secret"]);
  const bug = await b.ask("pool", { _id: 4, type: "role", guild_id: guild, ids: ["1"] });
  assert.equal(bug.code, 500);
  const none = await b.ask("pool", { _id: 5, type: "user", request: "search", query: "x" });
  assert.deepEqual([none.code, none.message], [400, "unknown_method"]);
  b.socket.emit("interpret", { action: 3001, guild_id: 4211, message_id: 2, content: "hi", allowed_commands: [] });
  const said = await b.event("interpret_response");
  assert.equal(said.args[0].actions[0].content, "you said hi");
  assert.ok(worker.stats.answered >= 3 && worker.stats.refused >= 3, JSON.stringify(worker.stats));
});

test("a request of a worker that dies is served by another", async (t) => {
  const { url } = await startRedis(t);
  const run = (name) => start(t, process.execPath, [fileURLToPath(new URL("worker.js", import.meta.url)), url, name]);
  const dying = run("stuck");
  await eventually("the first worker", () => dying.output().includes("ready"));
  const b = await browser(t, await startNode(t, url, { GUILDCAST_REQUEST_TIMEOUT: "30s" }));
  const answer = b.ask("pool", { _id: 1, type: "channel", guild_id: guild, ids: ["17"] });
  await eventually("the request to be taken", () => dying.output().includes("took"));
  dying.process.kill("SIGKILL");
  await dying.ended;
  const healthy = run("healthy");
  const { data, finished } = await answer;
  assert.deepEqual([data, finished], [[{ id: "17", name: "healthy" }], true]);
  healthy.process.kill("SIGTERM");
  assert.deepEqual(await healthy.ended, [0, null]);
  const redis = await client(t, url);
  const names = (await redis.xInfoConsumers(stream, "workers")).map(({ name }) => name);
  assert.equal(names.length, 1, "the one that stopped has left, the dead one is forgotten later");
});

test("what is late, malformed or gone is dropped", async (t) => {
  const { url } = await startRedis(t);
  const redis = await client(t, url);
  // Another worker has taken a request that the node has then withdrawn.
  await redis.xGroupCreate(stream, "workers", "0", { MKSTREAM: true });
  const gone = await request(t, redis, {});
  await redis.xReadGroup("workers", "dead", { key: stream, id: ">" });
  await redis.xDel(stream, gone.entry);
  const { worker, errors } = await work(t, url, { fetch: () => ({ data: [] }) }, { claimAfter: 200 });
  const late = await request(t, redis, { deadline: String(Date.now() - 1) });
  const unreadable = [{ id: "" }, { args: "{" }, { deadline: "soon" }, { reply_to: undefined }, { method: undefined }];
  for (const fields of unreadable) await request(t, redis, fields);
  const good = await request(t, redis, {});
  await eventually("an answer", () => good.replies.length);
  await settled(redis);
  assert.deepEqual([gone.replies, late.replies], [[], []]);
  const { expired, malformed, answered } = worker.stats;
  assert.deepEqual({ expired, malformed, answered }, { expired: 1, malformed: 5, answered: 1 });
  assert.equal(errors.length, 1, "one line a minute");
});

test("a slow request is not taken over, and is finished when the worker stops", async (t) => {
  const { url } = await startRedis(t);
  const redis = await client(t, url);
  let calls = 0, finish;
  const slow = () => {
    calls++;
    return new Promise((resolve) => (finish = () => resolve({ data: [{ id: "2" }] })));
  };
  const one = await work(t, url, { fetch: slow }, { claimAfter: 200 });
  const two = await work(t, url, { fetch: slow }, { claimAfter: 200 });
  const { replies } = await request(t, redis, {});
  await eventually("the request to be handled", () => calls);
  await new Promise((resolve) => setTimeout(resolve, 1000)); // five times as long as what is abandoned
  assert.equal(calls, 1);
  const stopping = Promise.all([one.stop(), two.stop()]);
  finish();
  await stopping;
  assert.deepEqual(replies.map(({ ok, more, part, result }) => ({ ok, more, part, result })),
    [{ ok: true, more: false, part: 0, result: { data: [{ id: "2" }], nonexistent: [] } }]);
  assert.deepEqual(await redis.xInfoConsumers(stream, "workers"), []);
});

test("a handler that misses the deadline holds nobody up", async (t) => {
  const { url } = await startRedis(t);
  const redis = await client(t, url);
  let aborted = false;
  const { worker, stop } = await work(t, url, {
    fetch: (_, { signal }) => {
      signal.addEventListener("abort", () => (aborted = true));
      return new Promise(() => {}); // never
    },
    all: () => ({ data: [] }),
  }, { concurrency: 2 });
  const never = await request(t, redis, { deadline: String(Date.now() + 300) });
  const other = await request(t, redis, { method: "all" });
  await eventually("the other answer", () => other.replies.length);
  await settled(redis);
  assert.ok(aborted);
  assert.deepEqual(never.replies, []);
  assert.equal(worker.stats.expired, 1);
  await stop();
});

test("no more requests are taken than can be handled", async (t) => {
  const { url } = await startRedis(t);
  const redis = await client(t, url);
  const waiting = [];
  let most = 0, handling = 0;
  await work(t, url, {
    fetch: async () => {
      most = Math.max(most, ++handling);
      await new Promise((resolve) => waiting.push(resolve));
      handling--;
      return { data: [] };
    },
  }, { concurrency: 3, claimAfter: 400 });
  const all = [];
  for (let i = 0; i < 10; i++) all.push(await request(t, redis, { id: String(i) }));
  while (all.some(({ replies }) => !replies.length)) {
    await eventually("requests to be handled", () => waiting.length || all.every(({ replies }) => replies.length));
    waiting.shift()?.();
  }
  assert.equal(most, 3);
  await settled(redis);
});

test("a worker outlives Redis, also one that comes back without its memory", async (t) => {
  const redis = await startRedis(t, "--appendonly", "no");
  const { errors } = await work(t, redis.url, { fetch: () => ({ data: [] }) });
  redis.process.kill("SIGKILL");
  await redis.ended;
  await redis.again();
  const looker = await client(t, redis.url);
  const { replies } = await request(t, looker, {});
  await eventually("an answer", () => replies.length);
  await looker.flushAll();
  const after = await request(t, looker, {});
  await eventually("an answer after the loss", () => after.replies.length);
  assert.ok(errors.length <= 3, String(errors));
});
