// Emits into the cluster without being a server.
//   node emitter.mjs ROOM EVENT [JSON ARGUMENT...]   once
//   node emitter.mjs                                 an "announcement" to everybody each 5 s
import { Emitter } from "@socket.io/redis-emitter";
import { createClient } from "redis";

const { REDIS_URL = "redis://127.0.0.1:6379", ADAPTER_KEY = "socket.io" } = process.env;
const client = createClient({ url: REDIS_URL });
client.on("error", (err) => console.error("redis:", err.message));
await client.connect();
const emitter = new Emitter(client, { key: ADAPTER_KEY });

const [room, event, ...args] = process.argv.slice(2);
if (room) {
  emitter.to(room).emit(event, ...args.map((a) => JSON.parse(a)));
  await client.quit();
} else {
  let n = 0;
  const timer = setInterval(() => emitter.emit("announcement", { n: ++n, at: new Date().toISOString() }), 5000);
  process.on("SIGTERM", () => {
    clearInterval(timer);
    client.disconnect();
  });
}
