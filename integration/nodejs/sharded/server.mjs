// A Node.js Socket.IO server with createShardedAdapter, driven over stdin and stdout, a JSON object a line.
//   CLIENT (redis or ioredis), REDIS_ADDRS (host:port, comma-separated; several: a Redis Cluster), PREFIX, MODE, NSPS
// in:  {n, op, ...}: see ops       out: {n, result} or {n, error}; {heard: event, args}; {ready: port}
// Binary values are {"$bin": base64} both ways.
import { createServer } from "node:http";
import { createInterface } from "node:readline";
import { createShardedAdapter } from "@socket.io/redis-adapter";
import { Cluster, Redis } from "ioredis";
import { ClientClosedError, createClient, createCluster } from "redis";
import { Server } from "socket.io";

const { CLIENT = "redis", REDIS_ADDRS = "127.0.0.1:6379", PREFIX = "socket.io", MODE = "dynamic", NSPS = "/" } = process.env;
const addrs = REDIS_ADDRS.split(",");
const out = (o) => process.stdout.write(JSON.stringify(o) + "\n");

// node-redis closes a server's connection of a cluster with its last channel, twice when two channels go at once, and
// nobody catches what the second says (@redis/client, executeShardedUnsubscribeCommand). Nothing is lost with it.
process.on("unhandledRejection", (err) => {
  if (CLIENT !== "redis" || addrs.length === 1 || !(err instanceof ClientClosedError)) throw err;
  console.error("redis:", err.message);
});

const encode = (v) => {
  if (Buffer.isBuffer(v) || v instanceof ArrayBuffer || ArrayBuffer.isView(v)) return { $bin: Buffer.from(v).toString("base64") };
  if (Array.isArray(v)) return v.map(encode);
  if (v instanceof Set) return [...v].map(encode);
  if (v && typeof v === "object") return Object.fromEntries(Object.entries(v).map(([k, x]) => [k, encode(x)]));
  return v === undefined ? null : v;
};
const decode = (v) => {
  if (Array.isArray(v)) return v.map(decode);
  if (v && typeof v === "object") {
    if (typeof v.$bin === "string") return Buffer.from(v.$bin, "base64");
    return Object.fromEntries(Object.entries(v).map(([k, x]) => [k, decode(x)]));
  }
  return v;
};

const connect = async () => {
  let client;
  if (CLIENT === "ioredis") {
    const nodes = addrs.map((a) => ({ host: a.split(":")[0], port: Number(a.split(":")[1]) }));
    client = nodes.length > 1 ? new Cluster(nodes, { shardedSubscribers: true }) : new Redis(nodes[0]);
    client.on("error", (err) => console.error("redis:", err.message));
    await new Promise((resolve) => client.once("ready", resolve));
  } else {
    const urls = addrs.map((a) => ({ url: `redis://${a}` }));
    client = urls.length > 1 ? createCluster({ rootNodes: urls }) : createClient(urls[0]);
    client.on("error", (err) => console.error("redis:", err.message));
    await client.connect();
  }
  return client;
};

const http = createServer();
const io = new Server(http, {
  adapter: createShardedAdapter(await connect(), await connect(), { channelPrefix: PREFIX, subscriptionMode: MODE }),
});
for (const nsp of NSPS.split(",")) {
  io.of(nsp).on("hello", (...args) => out({ heard: "hello", args: encode(args) }));
  io.of(nsp).on("question", (...args) => args.pop()(encode(["node", ...args])));
  io.of(nsp).on("mute", () => {});
}

// target is {nsp, rooms, except, flags: {volatile, local, compress, timeout}}
const target = ({ nsp = "/", rooms = [], except = [], flags = {} }) => {
  let b = io.of(nsp);
  if (rooms.length) b = b.to(rooms);
  if (except.length) b = b.except(except);
  if (flags.volatile) b = b.volatile;
  if (flags.local) b = b.local;
  if (flags.compress !== undefined) b = b.compress(flags.compress);
  if (flags.timeout) b = b.timeout(flags.timeout);
  return b;
};
const describe = (s) => ({ id: s.id, rooms: [...s.rooms], data: encode(s.data), handshake: encode(s.handshake) });

const ops = {
  emit: (c) => target(c).emit(c.event, ...decode(c.args ?? [])) && null,
  burst: (c) => {
    for (let i = 0; i < c.count; i++) target(c).emit(c.event, i);
    return null;
  },
  emitWithAck: (c) =>
    target(c)
      .emitWithAck(c.event, ...decode(c.args ?? []))
      .then((responses) => ({ responses: encode(responses) }), (err) => ({ error: err.message, responses: encode(err.responses ?? []) })),
  emitToRemote: async (c) => {
    const [s] = await target(c).fetchSockets();
    return encode(await s.timeout(120_000).emitWithAck(c.event, ...decode(c.args ?? [])));
  },
  fetch: async (c) => (await target(c).fetchSockets()).map(describe),
  joinAll: (c) => target(c).socketsJoin(c.names),
  leaveAll: (c) => target(c).socketsLeave(c.names),
  disconnectAll: (c) => target(c).disconnectSockets(c.close),
  join: (c) => io.of(c.nsp ?? "/").sockets.get(c.id).join(c.names),
  leave: (c) => c.names.forEach((r) => io.of(c.nsp ?? "/").sockets.get(c.id).leave(r)),
  setData: (c) => void (io.of(c.nsp ?? "/").sockets.get(c.id).data = decode(c.data)),
  serverEmit: (c) => void io.of(c.nsp ?? "/").serverSideEmit(c.event, ...decode(c.args ?? [])),
  serverEmitWithAck: (c) =>
    io
      .of(c.nsp ?? "/")
      .serverSideEmitWithAck(c.event, ...decode(c.args ?? []))
      .then((responses) => ({ responses: encode(responses) }), (err) => ({ error: err.message, responses: encode(err.responses ?? []) })),
  serverCount: () => io.of("/").adapter.serverCount(),
};

createInterface({ input: process.stdin })
  .on("line", async (line) => {
    const c = JSON.parse(line);
    try {
      out({ n: c.n, result: (await ops[c.op](c)) ?? null });
    } catch (err) {
      out({ n: c.n, error: err.stack });
    }
  })
  .on("close", () => process.exit(0));
http.listen(0, "127.0.0.1", () => out({ ready: http.address().port }));
