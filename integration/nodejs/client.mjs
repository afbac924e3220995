// Real socket.io-client connections, driven over stdin and stdout, a JSON object a line.
//
// in:   {op: "connect", id, url, options}          options go to io(); "v2": true takes socket.io-client 2.5
//       {op: "emit", id, event, args, ack}         ack: a number, echoed with the acknowledgement's arguments
//       {op: "disconnect", id}
// out:  {id, type: "connect", sid, recovered} {id, type: "connect_error", message} {id, type: "disconnect", reason}
//       {id, type: "event", event, args}           every event, in order
//       {id, type: "ack", ack, args}
// Binary values come out as {"$bin": base64}; the same form is accepted in args.
import { createInterface } from "node:readline";
import { createRequire } from "node:module";
import { io } from "socket.io-client";

const require = createRequire(import.meta.url);
const sockets = new Map();

const out = (o) => process.stdout.write(JSON.stringify(o) + "\n");

const encode = (v) => {
  if (Buffer.isBuffer(v) || v instanceof ArrayBuffer || ArrayBuffer.isView(v)) return { $bin: Buffer.from(v).toString("base64") };
  if (Array.isArray(v)) return v.map(encode);
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

const watchEvents = (socket, id, v2) => {
  if (v2) {
    const onevent = socket.onevent;
    socket.onevent = (packet) => {
      const [event, ...args] = packet.data;
      out({ id, type: "event", event, args: encode(args) });
      onevent.call(socket, packet);
    };
  } else {
    socket.onAny((event, ...args) => {
      const ack = typeof args[args.length - 1] === "function" ? args.pop() : null;
      out({ id, type: "event", event, args: encode(args) });
      ack?.(...args);
    });
  }
};

const ops = {
  connect({ id, url, options = {}, v2 = false }) {
    const connect = v2 ? require("socket.io-client-2") : io;
    const socket = connect(url, { forceNew: true, reconnection: false, ...options });
    sockets.set(id, socket);
    socket.on("connect", () => out({ id, type: "connect", sid: socket.id, recovered: !!socket.recovered }));
    socket.on("connect_error", (err) => out({ id, type: "connect_error", message: String(err.message ?? err) }));
    socket.on("disconnect", (reason) => out({ id, type: "disconnect", reason }));
    watchEvents(socket, id, v2);
  },
  emit({ id, event, args = [], ack }) {
    const socket = sockets.get(id);
    const rest = decode(args);
    if (ack !== undefined) rest.push((...a) => out({ id, type: "ack", ack, args: encode(a) }));
    socket.emit(event, ...rest);
  },
  disconnect({ id }) {
    sockets.get(id)?.disconnect();
    sockets.delete(id);
  },
};

createInterface({ input: process.stdin })
  .on("line", (line) => {
    const command = JSON.parse(line);
    ops[command.op](command);
  })
  .on("close", () => process.exit(0));
out({ type: "ready" });
