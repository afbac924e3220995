// What the tests run against: real Redis servers, real nodes, and browsers.
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { createHmac } from "node:crypto";
import { once } from "node:events";
import { mkdtempSync, rmSync } from "node:fs";
import { connect as dial, createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { fileURLToPath } from "node:url";

import { createClient } from "redis";
import { io } from "socket.io-client";

export const guild = "607637793107345431";
export const binary = process.env.GUILDCAST_BINARY ?? fileURLToPath(new URL("../../../bin/guildcast", import.meta.url));
const secret = "a secret of the tests of 32 bytes!";

/** cleanup calls what is to be done after a test, the last first. */
export function cleanup(t, done) {
  let all = cleanups.get(t);
  if (!all) {
    cleanups.set(t, all = []);
    t.after(async () => { while (all.length) await all.pop()(); });
  }
  all.push(done);
}
const cleanups = new WeakMap();

export async function freePort() {
  const server = createServer().listen(0, "127.0.0.1");
  await once(server, "listening");
  const { port } = server.address();
  server.close();
  await once(server, "close");
  return port;
}

/** eventually waits until check returns something true, which it returns. */
export async function eventually(what, check, patience = 30_000) {
  for (const end = Date.now() + patience; ;) {
    const found = await check();
    if (found) return found;
    if (Date.now() > end) assert.fail(`waited in vain for ${what}`);
    await sleep(20);
  }
}

/** start runs a program until the test ends. */
export function start(t, command, args, env = {}) {
  const process_ = spawn(command, args, { env: { ...process.env, ...env }, stdio: ["ignore", "pipe", "pipe"] });
  let output = "";
  for (const stream of [process_.stdout, process_.stderr]) stream.on("data", (data) => (output += data));
  const ended = once(process_, "exit");
  cleanup(t, async () => {
    process_.kill("SIGKILL");
    await ended;
  });
  return { process: process_, ended, output: () => output };
}

/** startRedis returns the URL of an empty Redis, and its process. */
export async function startRedis(t, ...args) {
  const port = await freePort();
  const dir = mkdtempSync(join(tmpdir(), "kit-redis-"));
  cleanup(t, () => rmSync(dir, { recursive: true, force: true }));
  const run = () => start(t, "redis-server",
    ["--port", port, "--bind", "127.0.0.1", "--save", "", "--appendonly", "yes", "--appendfsync", "always",
      "--dir", dir, ...args]);
  const redis = { url: `redis://127.0.0.1:${port}`, port, ...run() };
  redis.again = async () => {
    Object.assign(redis, run());
    await accepts(port);
  };
  await accepts(port);
  return redis;
}

async function accepts(port) {
  await eventually(`port ${port}`, () => new Promise((resolve) => {
    const socket = dial(port, "127.0.0.1", () => resolve(true)).on("error", () => resolve(false));
    socket.on("connect", () => socket.end());
  }));
}

/** client returns a plain client for looking at a Redis. */
export function client(t, url) {
  return opened(t, createClient({ url }));
}

/** another returns another connection like it. */
export function another(t, redis) {
  return opened(t, redis.duplicate());
}

async function opened(t, redis) {
  redis.on("error", () => {});
  await redis.connect();
  cleanup(t, () => redis.destroy());
  return redis;
}

/** startNode returns the URL of a node. */
export async function startNode(t, redisURL, env = {}) {
  const addr = `127.0.0.1:${await freePort()}`;
  const node = start(t, binary, ["serve"], {
    GUILDCAST_ADDR: addr, GUILDCAST_REDIS: redisURL, GUILDCAST_JWT_SECRET: secret, GUILDCAST_LOG: "json", ...env,
  });
  await eventually("a node", async () => {
    assert.equal(node.process.exitCode, null, node.output());
    return fetch(`http://${addr}/readyz`).then((r) => r.ok, () => false);
  });
  return `http://${addr}`;
}

export function token(claims = {}) {
  const now = Math.floor(Date.now() / 1000);
  const full = { sub: "214037134477230080", iat: now, exp: now + 3600, guilds: { [guild]: 6 }, ...claims };
  const base64 = (part) => Buffer.from(JSON.stringify(part)).toString("base64url");
  const text = `${base64({ alg: "HS256", typ: "JWT" })}.${base64(full)}`;
  return `${text}.${createHmac("sha256", secret).update(text).digest("base64url")}`;
}

/** A browser's socket, elevated. It remembers what it heard. */
export async function browser(t, url, claims) {
  const jwt = token(claims);
  const socket = io(url, { auth: { token: jwt }, reconnection: false, forceNew: true });
  cleanup(t, () => socket.disconnect());
  const heard = [];
  socket.onAny((event, ...args) => heard.push({ event, args }));
  const event = (name, matches = () => true) => eventually(`${name} in ${JSON.stringify(heard)}`,
    () => heard.find((h) => h.event === name && matches(...h.args)));
  const elevated = await event("request_elevation_return");
  assert.equal(elevated.args[0].success, true, JSON.stringify(elevated));
  return {
    socket, heard, event, room: elevated.args[0].room,
    ask: (name, payload) => socket.timeout(30_000).emitWithAck(name, { token: jwt, ...payload }),
  };
}

/**
 * proxy stands between a client and a Redis. After loseAnswerOf(word), the first command that holds the word reaches
 * Redis, and the connection is cut in place of its answer.
 */
export async function proxy(t, port) {
  let word, lost = 0;
  const sockets = new Set();
  const server = createServer((near) => {
    const far = dial(port, "127.0.0.1");
    let cut = false;
    near.on("data", (data) => {
      if (word && data.includes(word)) [cut, word] = [true, undefined];
      far.write(data);
    });
    far.on("data", (data) => {
      if (!cut) return near.write(data);
      lost++;
      near.destroy();
    });
    for (const [one, other] of [[near, far], [far, near]]) {
      sockets.add(one);
      one.on("error", () => {}).on("close", () => { sockets.delete(one); other.destroy(); });
    }
  }).listen(0, "127.0.0.1");
  await once(server, "listening");
  cleanup(t, () => {
    server.close();
    for (const socket of sockets) socket.destroy();
  });
  return {
    url: `redis://127.0.0.1:${server.address().port}`,
    loseAnswerOf: (w) => { word = w; },
    lost: () => lost,
  };
}
