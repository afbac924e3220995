// Socket.IO servers of Node.js for the comparison with the engine, driven over stdin and stdout, a JSON object a line:
//   in:  {op: "open", id, options}   out: {id, port, admin}
//   in:  {op: "close", id}
// What the handlers do is the same here and in conform_app_test.go. GET /log?n=N on the admin port
// answers with the server's log once it has N lines (or after 3 s), POST /close calls io.close()
// once every client can be written to.
import { readFileSync } from "node:fs";
import { createServer } from "node:http";
import { createServer as createHTTP2Server } from "node:http2";
import { createServer as createTLSServer } from "node:https";
import { createInterface } from "node:readline";
import { Server } from "socket.io";

const out = (o) => process.stdout.write(JSON.stringify(o) + "\n");
const opened = new Map();

const text = (v) =>
  JSON.stringify(v, (_, x) => {
    if (x && x.type === "Buffer") return { $bin: Buffer.from(x.data).toString("base64") };
    if (x && typeof x === "object" && !Array.isArray(x)) return Object.fromEntries(Object.entries(x).sort());
    return x === undefined ? null : x;
  });

// What a client may ask for with the event "do": an array of steps, run in order. ack gets what the last step returns.
const steps = {
  emit: (s, { event, args = [], volatile, compress }) => {
    if (volatile) s = s.volatile;
    if (compress !== undefined) s = s.compress(compress);
    s.emit(event, ...args);
  },
  call: (s, { event, args = [], timeout }, log) => {
    const t = timeout ? s.timeout(timeout) : s;
    t.emit(event, ...args, (...answer) => {
      if (timeout) {
        const err = answer.shift();
        if (err) {
          log(`ack of ${event}: error ${err.message}`);
          s.emit("called", "error");
          return;
        }
      }
      log(`ack of ${event}: ${text(answer)}`);
      s.emit("called", ...answer);
    });
  },
  // Waits for the client's answer before the next event is handled.
  wait: (s, { event, args = [] }) => s.emitWithAck(event, ...args),
  ask: (s, { to, event, args = [], timeout }, log) => {
    const b = to ? s.nsp.to(to) : s.nsp;
    b.timeout(timeout).emit(event, ...args, (err, answers) => {
      log(`answers to ${event}: ${err ? "error " + err.message : "none missing"} ${text(answers.map(text).sort())}`);
      s.emit("asked", !!err, answers.length);
    });
  },
  join: (s, { rooms }) => void s.join(rooms),
  leave: (s, { rooms }) => rooms.forEach((r) => s.leave(r)),
  // An operator: from the socket (which leaves itself out) or from the namespace.
  send: (s, { from = "nsp", to = [], except = [], local, volatile, event, args = [] }) => {
    let b = from === "socket" ? s.broadcast : s.nsp;
    if (local) b = b.local;
    if (volatile) b = b.volatile;
    for (const r of to) b = b.to(r);
    for (const r of except) b = b.except(r);
    b.emit(event, ...args);
  },
  all: (s, { to = [], except = [], join, leave, disconnect }) => {
    let b = s.nsp.except([]);
    for (const r of to) b = b.to(r);
    for (const r of except) b = b.except(r);
    if (join) b.socketsJoin(join);
    if (leave) b.socketsLeave(leave);
    if (disconnect !== undefined) b.disconnectSockets(disconnect);
  },
  fetch: async (s, { to = [] }) => {
    let b = s.nsp.except([]);
    for (const r of to) b = b.to(r);
    const found = await b.fetchSockets();
    return found
      .map((r) => ({ data: r.data, rooms: [...r.rooms].filter((x) => x !== r.id).sort(), own: r.rooms.has(r.id) }))
      .sort((a, b) => (text(a) < text(b) ? -1 : 1));
  },
  rooms: (s) => [...s.rooms].map((r) => (r === s.id ? "own" : r)).sort(),
  data: (s, { set }) => {
    s.data = set;
  },
  handshake: (s) => ({
    auth: s.handshake.auth,
    query: s.handshake.query,
    xdomain: s.handshake.xdomain,
    secure: s.handshake.secure,
    url: s.handshake.url,
    agent: s.handshake.headers["x-test"] ?? null,
    transport: s.conn.transport.name,
    protocol: s.conn.protocol,
  }),
  transport: (s) => s.conn.transport.name,
  many: (s, { event, count }) => {
    for (let i = 0; i < count; i++) s.emit(event, i);
  },
  disconnect: (s, { close }) => void s.disconnect(close),
  conn: (s) => void s.conn.close(),
  use: (s, { name }, log) => {
    s.use(([event, ...args], next) => {
      log(`${name}: ${event} ${text(args.filter((a) => typeof a !== "function"))}`);
      if (event === "refused") return next(new Error("refused by " + name));
      if (event === "dropped") return;
      next();
    });
  },
  any: (s, _, log) => {
    s.onAny((event, ...args) => log(`any ${event} ${text(args.filter((a) => typeof a !== "function"))}`));
    s.onAnyOutgoing((event, ...args) => log(`outgoing ${event} ${text(args.filter((a) => typeof a !== "function"))}`));
  },
};

const serve = (nsp, log) => {
  nsp.on("connection", (socket) => {
    const name = socket.nsp.name;
    log(`connection ${name} recovered=${socket.recovered} rooms=${socket.rooms.size} data=${text(socket.data)}`);
    socket.on("disconnecting", (reason) => log(`disconnecting ${name} ${reason} rooms=${socket.rooms.size}`));
    socket.on("disconnect", (reason) => log(`disconnect ${name} ${reason} rooms=${socket.rooms.size}`));
    socket.on("error", (err) => log(`error ${name}`));
    socket.emit("auth", socket.handshake.auth);
    socket.on("message", (...args) => socket.emit("message-back", ...args));
    socket.on("message-with-ack", (...args) => {
      const ack = args.pop();
      ack(...args);
    });
    socket.on("twice", (ack) => {
      ack(1);
      ack(2);
    });
    socket.on("count", (n) => log(`count ${n}`));
    let next = 0;
    let misplaced = 0;
    socket.on("ordered", (n, last) => {
      if (n !== next) misplaced++;
      next = n + 1;
      if (last) socket.emit("ordered-done", next, misplaced);
    });
    socket.on("do", async (list, ack) => {
      let result = null;
      for (const step of list) result = (await steps[step.op](socket, step, log)) ?? null;
      if (typeof ack === "function") ack(result);
    });
    for (const event of ["1", "refused", "dropped", "passed", ""]) {
      socket.on(event, (...args) => {
        const ack = typeof args.at(-1) === "function" ? args.pop() : undefined;
        log(`event ${JSON.stringify(event)} ${text(args)}`);
        ack?.(event);
      });
    }
  });
};

const app = (io, log, o) => {
  serve(io, log);
  serve(io.of("/custom"), log);
  const refuse = io.of("/refuse");
  refuse.use((socket, next) => {
    const err = new Error("not for you");
    if (socket.handshake.auth.data) err.data = { code: 7, why: ["a", "b"] };
    next(socket.handshake.auth.ok ? undefined : err);
  });
  serve(refuse, log);
  serve(io.of(/^\/dyn-\d+$/), log);
  serve(
    io.of((name, auth, next) => next(null, name.startsWith("/fn-") && auth.pass === "yes")),
    log,
  );
  io.engine.on("connection_error", (e) => {
    const context = { ...e.context };
    delete context.error;
    log(`connection_error ${e.code} ${e.message} ${text(context)}`);
  });
  if (o.engineHeaders) {
    io.engine.on("initial_headers", (h) => (h["x-initial"] = "1"));
    io.engine.on("headers", (h) => (h["x-every"] = "1"));
  }
};

const open = async ({ id, options }) => {
  const { tls, h2c, engineHeaders, allow, ...rest } = options;
  if (allow) {
    rest.allowRequest = (req, done) => {
      const header = req.headers["x-refuse"];
      done(header === undefined ? null : header, header === undefined);
    };
  }
  const lines = [];
  const waiting = new Set();
  const log = (line) => {
    lines.push(line);
    for (const check of [...waiting]) check();
  };
  const plain = (req, res) => {
    res.writeHead(404);
    res.end();
  };
  const create = () => {
    if (h2c) return createHTTP2Server(plain);
    return tls ? createTLSServer({ key: readFileSync(tls.key), cert: readFileSync(tls.cert) }, plain) : createServer(plain);
  };
  const http = create();
  const io = new Server(http, { serveClient: false, ...rest });
  app(io, log, options);
  const admin = createServer((req, res) => {
    const url = new URL(req.url, "http://x");
    if (url.pathname === "/close") {
      const deadline = Date.now() + 3000;
      const close = () => {
        const listened = Object.values(io.engine.clients).every((c) => c.transport.writable);
        if (!listened && Date.now() < deadline) return void setTimeout(close, 1);
        io.close();
        res.end();
      };
      close();
      return;
    }
    const n = Number(url.searchParams.get("n"));
    const answer = () => {
      clearTimeout(timer);
      waiting.delete(check);
      res.end(JSON.stringify(lines));
    };
    const check = () => lines.length >= n && answer();
    const timer = setTimeout(answer, 3000);
    waiting.add(check);
    check();
  });
  await Promise.all([new Promise((r) => http.listen(0, "127.0.0.1", r)), new Promise((r) => admin.listen(0, "127.0.0.1", r))]);
  opened.set(id, () => {
    io.close();
    http.close();
    http.closeAllConnections?.();
    admin.close();
    admin.closeAllConnections();
  });
  out({ id, port: http.address().port, admin: admin.address().port });
};

process.on("uncaughtException", (err) => {
  console.error(err);
  process.exit(1);
});
createInterface({ input: process.stdin })
  .on("line", (line) => {
    const command = JSON.parse(line);
    if (command.op === "open") open(command);
    else {
      opened.get(command.id)?.();
      opened.delete(command.id);
    }
  })
  .on("close", () => process.exit(0));
out({ type: "ready" });
