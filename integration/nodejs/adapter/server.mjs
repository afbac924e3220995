// A Socket.IO server of Node.js that a test drives over stdin and stdout, a JSON object a line.
//   REDIS_URL, ADAPTER (see below), OPTIONS (JSON for the adapter)
// in:  {n, op, nsp, ...}         see ops
// out: {type: "ready", port}     first
//      {type: "result", n, result | error}
//      {type: "heard", nsp, event, args}    of serverSideEmit
// Binary values are {"$bin": base64} on both ways.
import { createServer } from "node:http";
import { createInterface } from "node:readline";
import { createRequire } from "node:module";
import { Server } from "socket.io";
import { createAdapter, createShardedAdapter } from "@socket.io/redis-adapter";
import { createAdapter as createAdapter7 } from "@socket.io/redis-adapter-7";
import { createClient } from "redis";
import { Redis } from "ioredis";

const require = createRequire(import.meta.url);
const { REDIS_URL, ADAPTER = "redis", OPTIONS = "{}", NAMESPACES = "/" } = process.env;
const options = JSON.parse(OPTIONS);

const out = (o) => process.stdout.write(JSON.stringify(o) + "\n");
const fail = (err) => {
  console.error(err);
  process.exit(1);
};
process.on("uncaughtException", fail);

const encode = (v) => {
  if (Buffer.isBuffer(v) || v instanceof ArrayBuffer || ArrayBuffer.isView(v)) return { $bin: Buffer.from(v).toString("base64") };
  if (v instanceof Date) return v.toISOString();
  if (v instanceof Set) return [...v];
  if (Array.isArray(v)) return v.map(encode);
  if (v && typeof v === "object") return Object.fromEntries(Object.entries(v).map(([k, x]) => [k, encode(x)]));
  return v === undefined ? null : v;
};
const decode = (v) => {
  if (Array.isArray(v)) return v.map(decode);
  if (v && typeof v === "object") {
    if (typeof v.$bin === "string") return Buffer.from(v.$bin, "base64");
    if (typeof v.$date === "number") return new Date(v.$date);
    return Object.fromEntries(Object.entries(v).map(([k, x]) => [k, decode(x)]));
  }
  return v;
};

const nodeRedis = async () => {
  const pub = createClient({ url: REDIS_URL });
  const sub = pub.duplicate();
  await Promise.all([pub.connect(), sub.connect()]);
  return [pub, sub];
};
const ioRedis = () => [new Redis(REDIS_URL), new Redis(REDIS_URL)];

// One entry per peer: the adapter's constructor.
const adapters = {
  redis: async () => createAdapter(...(await nodeRedis()), options),
  ioredis: async () => createAdapter(...ioRedis(), options),
  "redis-7": async () => createAdapter7(...ioRedis(), options),
  "redis-6": async () => {
    const [pubClient, subClient] = ioRedis();
    return require("socket.io-redis-6").createAdapter({ pubClient, subClient, ...options });
  },
  sharded: async () => createShardedAdapter(...(await nodeRedis()), options),
  "sharded-ioredis": async () => createShardedAdapter(...ioRedis(), options),
};

const http = createServer();
const io = new Server(http, { adapter: await adapters[ADAPTER]() });
for (const name of NAMESPACES.split(",")) {
  const nsp = io.of(name);
  nsp.on("connection", () => {});
  nsp.on("hello", (...args) => out({ type: "heard", nsp: name, event: "hello", args: encode(args) }));
  nsp.on("ask", (...args) => args.pop()(["answer", ...args]));
  nsp.on("mute", () => {});
}

const select = ({ nsp = "/", rooms = [], except = [], flags = {} }) => {
  let b = io.of(nsp).except([]);
  if (rooms.length) b = b.to(rooms);
  if (except.length) b = b.except(except);
  for (const f of ["local", "volatile"]) if (flags[f]) b = b[f];
  if (flags.timeout) b = b.timeout(flags.timeout);
  return b;
};

const withError = (resolve) => (err, values) => resolve({ values: encode(values ?? []), error: err ? String(err.message ?? err) : "" });

const ops = {
  emit: (o) => void select(o).emit(o.event, ...decode(o.args)),
  burst: (o) => {
    for (let i = 0; i < o.count; i++) select(o).emit(o.event, i);
  },
  ask: (o) => new Promise((resolve) => select(o).emit(o.event, ...decode(o.args), withError(resolve))),
  fetch: async (o) => (await select(o).fetchSockets()).map((s) => encode({ id: s.id, handshake: s.handshake, rooms: s.rooms, data: s.data })),
  remote: async (o) => {
    const [s] = await select(o).fetchSockets();
    return encode(await s.timeout(120_000).emitWithAck(o.event, ...decode(o.args)));
  },
  join: (o) => void select(o).socketsJoin(o.targets),
  leave: (o) => void select(o).socketsLeave(o.targets),
  disconnect: (o) => void select(o).disconnectSockets(o.close),
  sse: (o) => void io.of(o.nsp).serverSideEmit(o.event, ...decode(o.args)),
  sseAck: (o) => new Promise((resolve) => io.of(o.nsp).serverSideEmit(o.event, ...decode(o.args), withError(resolve))),
  allRooms: async (o) => [...(await io.of(o.nsp).adapter.allRooms())],
  sockets: async (o) => [...(await io.of(o.nsp).adapter.sockets(new Set(o.rooms ?? [])))],
  serverCount: (o) => io.of(o.nsp).adapter.serverCount(),
  remoteJoin: async (o) => void (await io.of(o.nsp).adapter.remoteJoin(o.id, o.room)),
  remoteLeave: async (o) => void (await io.of(o.nsp).adapter.remoteLeave(o.id, o.room)),
  remoteDisconnect: async (o) => void (await io.of(o.nsp).adapter.remoteDisconnect(o.id, true)),
  own: (o) => {
    const s = io.of(o.nsp).sockets.get(o.id);
    if (o.data) s.data = decode(o.data);
    if (o.targets) s.join(o.targets);
  },
};

createInterface({ input: process.stdin }).on("line", async (line) => {
  const o = JSON.parse(line);
  try {
    out({ type: "result", n: o.n, result: (await ops[o.op](o)) ?? null });
  } catch (err) {
    out({ type: "result", n: o.n, error: String(err.message ?? err) });
  }
}).on("close", () => process.exit(0));

http.listen(0, "127.0.0.1", () => out({ type: "ready", port: http.address().port }));
