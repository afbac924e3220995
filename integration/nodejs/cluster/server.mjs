// A Node.js Socket.IO server in the same cluster as the guildcast nodes.
//   PORT, REDIS_URL, ADAPTER_KEY (socket.io), SOCKET_PATH (/node/socket.io/)
// A client may send "relay" {room, event, args}: the server emits it to that room, wherever its members are connected.
import { createServer } from "node:http";
import { Server } from "socket.io";
import { createAdapter } from "@socket.io/redis-adapter";
import { createClient } from "redis";

const { PORT = "3000", REDIS_URL = "redis://127.0.0.1:6379", ADAPTER_KEY = "socket.io", SOCKET_PATH = "/node/socket.io/" } = process.env;

const pub = createClient({ url: REDIS_URL });
const sub = pub.duplicate();
for (const client of [pub, sub]) client.on("error", (err) => console.error("redis:", err.message));
await Promise.all([pub.connect(), sub.connect()]);

const http = createServer((req, res) => {
  res.statusCode = req.url === "/healthz" ? 200 : 404;
  res.end();
});
const io = new Server(http, { path: SOCKET_PATH, adapter: createAdapter(pub, sub, { key: ADAPTER_KEY }) });

io.on("connection", (socket) => {
  socket.on("join", (room, ack) => {
    socket.join(room);
    ack?.();
  });
  socket.on("relay", ({ room, event, args = [] }, ack) => {
    io.to(room).emit(event, ...args);
    ack?.();
  });
});

http.listen(Number(PORT), () => console.log(`node server on ${PORT}`));
process.on("SIGTERM", () => {
  io.close();
  for (const client of [pub, sub]) client.disconnect();
});
