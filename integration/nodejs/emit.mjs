// Emits once through an emitter library:
//   node emit.mjs LIBRARY REDIS_URL NAMESPACE ROOM EVENT JSON_ARGUMENTS
// LIBRARY: emitter-5, emitter-4 (@socket.io/redis-emitter), legacy (socket.io-emitter 3). {"$bin": base64} in the
// arguments becomes a Buffer.
import { createRequire } from "node:module";
import { createClient } from "redis";

const require = createRequire(import.meta.url);
const [library, url, namespace, room, event, json] = process.argv.slice(2);
const args = JSON.parse(json, (_, v) => (v && typeof v.$bin === "string" ? Buffer.from(v.$bin, "base64") : v));

if (library === "legacy") {
  const client = require("redis-3").createClient(url);
  require("socket.io-emitter")(client).of(namespace).to(room).emit(event, ...args);
  client.quit();
} else {
  const { Emitter } = library === "emitter-4" ? require("@socket.io/redis-emitter-4") : await import("@socket.io/redis-emitter");
  const client = createClient({ url });
  await client.connect();
  new Emitter(client).of(namespace).to(room).emit(event, ...args);
  await client.quit();
}
