// A Socket.IO 2.5 server with socket.io-redis 5.4, driven as server.mjs is. Only what it can do is there.
import { createServer } from "node:http";
import { createInterface } from "node:readline";
import { createRequire } from "node:module";

const require = createRequire(import.meta.url);
const redis = require("redis-3");
const { REDIS_URL } = process.env;

const out = (o) => process.stdout.write(JSON.stringify(o) + "\n");
process.on("uncaughtException", (err) => {
  console.error(err);
  process.exit(1);
});

const decode = (v) => {
  if (Array.isArray(v)) return v.map(decode);
  if (v && typeof v === "object") {
    if (typeof v.$bin === "string") return Buffer.from(v.$bin, "base64");
    return Object.fromEntries(Object.entries(v).map(([k, x]) => [k, decode(x)]));
  }
  return v;
};

const http = createServer();
const io = require("socket.io-2")(http);
const pubClient = redis.createClient(REDIS_URL);
const subClient = redis.createClient(REDIS_URL);
io.adapter(require("socket.io-redis-5")({ pubClient, subClient, requestsTimeout: 120_000 }));

const adapter = () => io.of("/").adapter;
const promise = (f) => new Promise((resolve, reject) => f((err, v) => (err ? reject(err) : resolve(v ?? null))));

const ops = {
  emit: (o) => {
    let b = io.of("/");
    for (const r of o.rooms ?? []) b = b.to(r);
    b.emit(o.event, ...decode(o.args));
  },
  clients: (o) => promise((cb) => adapter().clients(o.rooms ?? [], cb)),
  clientRooms: (o) => promise((cb) => adapter().clientRooms(o.id, cb)),
  allRooms: () => promise((cb) => adapter().allRooms(cb)),
  remoteJoin: (o) => promise((cb) => adapter().remoteJoin(o.id, o.room, cb)),
  remoteLeave: (o) => promise((cb) => adapter().remoteLeave(o.id, o.room, cb)),
  remoteDisconnect: (o) => promise((cb) => adapter().remoteDisconnect(o.id, true, cb)),
  customRequest: (o) => promise((cb) => adapter().customRequest(o.data, cb)),
};

createInterface({ input: process.stdin }).on("line", async (line) => {
  const o = JSON.parse(line);
  try {
    out({ type: "result", n: o.n, result: (await ops[o.op](o)) ?? null });
  } catch (err) {
    out({ type: "result", n: o.n, error: String(err.message ?? err) });
  }
}).on("close", () => process.exit(0));

subClient.once("subscribe", () =>
  http.listen(0, "127.0.0.1", () => out({ type: "ready", port: http.address().port })));
