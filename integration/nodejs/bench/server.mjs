// The Node.js side of bench/: the same events as bench/server in Go.  ADDR=host:port, REDIS_URL for the cluster cases.
import { createServer } from "node:http";
import { Server } from "socket.io";

const [host, port] = process.env.ADDR.split(":");
const interval = Number(process.env.PING_INTERVAL ?? 25000);

const http = createServer((req, res) => {
  if (req.url === "/gc") global.gc?.();
  res.end(JSON.stringify({ heap: process.memoryUsage().heapUsed, goroutines: 0 }));
});
const options = {
  // compresses every message, in a context of each connection's own
  perMessageDeflate: process.env.DEFLATE ? { threshold: 0 } : false,
  pingInterval: interval, pingTimeout: 20000, maxHttpBufferSize: 1e6,
};

if (process.env.REDIS_URL) {
  const { createAdapter } = await import("@socket.io/redis-adapter");
  const { createClient } = await import("redis");
  const pub = createClient({ url: process.env.REDIS_URL });
  const sub = pub.duplicate();
  await Promise.all([pub.connect(), sub.connect()]);
  options.adapter = createAdapter(pub, sub);
}
const io = new Server(http, options);

io.on("connection", (socket) => {
  socket.on("join", (room, ack) => {
    socket.join(room);
    ack();
  });
  socket.on("say", (v) => io.to("room").emit("e", v));
  socket.on("echo", (v, ack) => ack(v));
  // burst: n messages to a room in one go; [number, padding]
  socket.on("burst", (room, n, size) => {
    const pad = "x".repeat(size);
    for (let i = 0; i < n; i++) io.to(room).emit("m", i, pad);
  });
  // paced: one message each ms milliseconds
  socket.on("paced", (room, n, size, ms) => {
    const pad = "x".repeat(size);
    let i = 0;
    const timer = setInterval(() => {
      io.to(room).emit("m", i, pad);
      if (++i === n) clearInterval(timer);
    }, ms);
  });
  // rooms: n messages, each to one of the rooms p0 to p<rooms-1>
  socket.on("rooms", (n, rooms, size) => {
    const pad = "x".repeat(size);
    let seed = 1;
    for (let i = 0; i < n; i++) {
      seed = (seed * 1103515245 + 12345) % 2147483648;
      io.to("p" + (seed % rooms)).emit("m", i, pad);
    }
  });
});
http.listen(Number(port), host);
