// A Node.js Socket.IO server with the official admin UI's instrumentation, in the cluster of the guildcast nodes.
//   PORT, REDIS_URL, USER, HASH
// It also serves the admin UI's page.
import { readFile } from "node:fs/promises";
import { createServer } from "node:http";
import { createRequire } from "node:module";
import { dirname, extname, join, normalize } from "node:path";
import { instrument } from "@socket.io/admin-ui";
import { createAdapter } from "@socket.io/redis-adapter";
import { createClient } from "redis";
import { Server } from "socket.io";

const { PORT, REDIS_URL, USER, HASH } = process.env;
const page = join(dirname(createRequire(import.meta.url).resolve("@socket.io/admin-ui/package.json")), "ui", "dist");
const types = { ".html": "text/html", ".js": "text/javascript", ".css": "text/css", ".svg": "image/svg+xml" };

const pub = createClient({ url: REDIS_URL });
const sub = pub.duplicate();
for (const client of [pub, sub]) client.on("error", (err) => console.error("redis:", err.message));
await Promise.all([pub.connect(), sub.connect()]);

const http = createServer(async (req, res) => {
  const path = normalize(new URL(req.url, "http://x").pathname);
  try {
    const body = await readFile(join(page, path === "/" ? "index.html" : path));
    res.setHeader("Content-Type", types[extname(path)] ?? "text/html").end(body);
  } catch {
    res.writeHead(404).end();
  }
});
const io = new Server(http, { adapter: createAdapter(pub, sub), cors: { origin: true, credentials: true } });
instrument(io, { auth: { type: "basic", username: USER, password: HASH }, mode: "development", serverId: "nodejs" });
io.on("connection", (socket) => socket.on("hello", (...args) => socket.emit("hello back", ...args)));

http.listen(Number(PORT), "127.0.0.1", () => console.log("node server is ready"));
