import assert from "node:assert/strict";
import { test } from "node:test";

import { connect, Emitter, InvalidEventError, Pools, Publisher, revoke } from "@guildcast/server";
import { Emitter as RedisEmitter } from "@socket.io/redis-emitter";

import { browser, cleanup, client, eventually, guild, startNode, startRedis, token } from "./world.js";

async function connected(t, url) {
  const redis = await connect(url);
  cleanup(t, () => redis.destroy());
  return redis;
}

test("a browser gets what pools hold, and what changes", async (t) => {
  const { url } = await startRedis(t);
  const redis = await connected(t, url);
  const pools = new Pools(redis), publisher = new Publisher(redis);
  const roles = Array.from({ length: 1200 }, (_, i) => ({ id: String(i), name: `role ${i}` }));
  await pools.put(guild, "role", ...roles);
  await pools.replace(guild, "role", roles.slice(1, 3));
  await pools.put(guild, "member", { id: "1", name: "ana" }, { id: "2", name: "bea" });
  await pools.put(null, "user", { id: "1", username: "ana" }, { id: "2", username: "bea" });
  await pools.setOnline(guild, "1", "2");
  await pools.setOffline(guild, "2");

  const b = await browser(t, await startNode(t, url));
  await b.ask("spectate", { guild_id: guild, positions: true });
  const got = await b.ask("pool", { _id: 1, type: "role", guild_id: guild, ids: ["1", "2"] });
  assert.deepEqual(got.data, roles.slice(1, 3));
  const online = await b.ask("pool", { _id: 2, type: "member", guild_id: guild, request: "online" });
  assert.deepEqual(online.data, [{ id: "1", name: "ana" }]);

  const emoji = { id: "5", name: "wave" };
  await pools.update(publisher, guild, "customEmoji", emoji);
  const update = await b.event("log_pool");
  assert.deepEqual(update.args[0], { type: "customEmoji", guild_id: guild, data: [emoji], nonexistent: [] });
  const looker = await client(t, url);
  assert.equal(await looker.hLen(`guildcast:pool:{${guild}}:role`), 2);
  assert.equal(await looker.hGet("guildcast:pool:{global}:customEmoji", "5"), JSON.stringify(emoji));
  await pools.delete(publisher, guild, "customEmoji", "5");
  await b.event("log_pool", ({ nonexistent }) => nonexistent[0] === "5");
  const emojis = ["guildcast:pool:{global}:customEmoji", `guildcast:pool:{${guild}}:customEmoji`];
  assert.equal(await looker.exists(emojis), 0);
});

test("the cache is written before the event says so", async (t) => {
  const { url } = await startRedis(t);
  const calls = [];
  const redis = await connected(t, url);
  const order = new Proxy(redis, {
    get: (target, name) => {
      const member = Reflect.get(target, name);
      if (typeof member !== "function") return member;
      return (...args) => {
        calls.push(name);
        return member.apply(target, args);
      };
    },
  });
  const pools = new Pools(order), publisher = new Publisher(order);
  await pools.update(publisher, guild, "member", { id: "1" });
  await pools.delete(publisher, guild, "member", "1");
  assert.deepEqual(calls.filter((name) => name !== "eval"), ["hSet", "evalSha", "hDel", "evalSha"]);
});

test("pools refuse what no node would find", async (t) => {
  const { url } = await startRedis(t);
  const pools = new Pools(await connected(t, url));
  await assert.rejects(pools.put(null, "member", { id: "1" }), TypeError);
  await assert.rejects(pools.put(guild, "members", { id: "1" }), TypeError);
  await assert.rejects(pools.put("{x}", "member", { id: "1" }), TypeError);
  await assert.rejects(pools.put(guild, "member", { id: 1 }), TypeError);
  await assert.rejects(pools.setOnline("x", "1"), TypeError);
  await pools.put(guild, "member");
  await pools.setOnline(guild);
});

test("emitters reach sockets of nodes", async (t) => {
  const { url } = await startRedis(t);
  const b = await browser(t, await startNode(t, url));
  const emitter = new Emitter(await connected(t, url));
  assert.equal(await emitter.to(b.room).emit("notice", { text: "hello" }, Buffer.from([1, 2])), 1);
  const notice = await b.event("notice");
  assert.deepEqual(notice.args.map((a) => ArrayBuffer.isView(a) ? [...a] : a), [{ text: "hello" }, [1, 2]]);
  await emitter.to(b.socket.id).socketsJoin("lobby");
  await emitter.to("lobby").except(b.room).emit("not for it");
  await emitter.to("lobby").volatile.emit("for it");
  await b.event("for it");
  assert.ok(!b.heard.some(({ event }) => event === "not for it"));
  await assert.rejects(emitter.emit("disconnect"), InvalidEventError);
  await emitter.in(b.socket.id).disconnectSockets(true);
  await eventually("the end", () => !b.socket.connected);
});

test("what is emitted is what the field's emitter writes", async (t) => {
  const { url } = await startRedis(t);
  const heard = [];
  const listener = await client(t, url);
  await listener.pSubscribe("*", (message, channel) => heard.push([String(channel), message.toString("hex")]), true);
  const ours = new Emitter(await connected(t, url), { key: "k" });
  const theirs = new RedisEmitter(await client(t, url), { key: "k" });
  const chains = [
    (e) => e.emit("all", 1, "two", null, { three: [3.5] }, Buffer.from("4")),
    (e) => e.of("chat").to("a").emit("one room"),
    (e) => e.of("/chat").compress(false).volatile.to("a").to("b").except("c").emit("flags"),
    (e) => e.volatile.compress(true).emit("other order"),
    (e) => e.in("a").except("b").socketsJoin("c"),
    (e) => e.in("a").socketsLeave("c"),
    (e) => e.in("a").disconnectSockets(true),
    (e) => e.serverSideEmit("hello", 1),
  ];
  for (const chain of chains) {
    await chain(ours);
    await eventually("ours", () => heard.length === 1);
    chain(theirs);
    await eventually("theirs", () => heard.length === 2);
    const [one, other] = heard.splice(0);
    assert.deepEqual(one, other);
  }
});

test("revocations demote, and hold", async (t) => {
  const { url } = await startRedis(t);
  const node = await startNode(t, url);
  const b = await browser(t, node, { jti: "t1" });
  const redis = await connected(t, url);
  const before = token({ jti: "t1" }); // one that is made a second later is not revoked
  assert.equal(await revoke(redis, { jti: "t2" }), 1);
  assert.equal(await revoke(redis, { sub: "214037134477230080", jti: "t1", iatBefore: "now" }), 1);
  const end = await b.event("elevation_expired");
  assert.equal(end.args[0].reason, "revoked");
  const again = await b.socket.timeout(30_000).emitWithAck("request_elevation", { token: before });
  assert.equal(again.error.message, "token_revoked");
  const looker = await client(t, url);
  const stored = await looker.zRange("guildcast:revocations", 0, -1);
  assert.equal(stored.length, 2, `nodes store the same texts: ${stored}`);
  await browser(t, node, { jti: "t3" }); // another token of the user
  for (const bad of [{}, { sub: "" }, { sub: 5 }, { sub: "x", iatBefore: NaN }]) {
    await assert.rejects(revoke(redis, bad), TypeError);
  }
  await assert.rejects(revoke(redis, { sub: "x" }, { expires: 1 }), TypeError);
});
