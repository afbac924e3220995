// What a scenario has in its hands: a transcript, and clients of all kinds. Lines of the transcript are the same for two
// servers that behave the same: ids, ports and dates are replaced.
import http from "node:http";
import https from "node:https";
import net from "node:net";
import { createRequire } from "node:module";
import { WebSocket } from "ws";
import { io } from "socket.io-client";

const require = createRequire(import.meta.url);
const io2 = require("socket.io-client-2");

export const text = (v) =>
  JSON.stringify(v, (_, x) => {
    if (x instanceof ArrayBuffer) return { $bin: Buffer.from(x).toString("base64") };
    if (x && x.type === "Buffer") return { $bin: Buffer.from(x.data).toString("base64") };
    if (x && typeof x === "object" && !Array.isArray(x)) return Object.fromEntries(Object.entries(x).sort());
    return x === undefined ? null : x;
  });

const unstable = new Set(["date", "connection", "keep-alive", "transfer-encoding"]);

export const sleep = (ms) => new Promise((r) => setTimeout(r, ms));

export class Peer {
  /** patience multiplies how long a scenario waits for what may come. */
  constructor({ port, admin, tls }, patience = 1) {
    this.patience = patience;
    this.tls = tls;
    this.port = port;
    this.admin = `http://127.0.0.1:${admin}`;
    this.url = `${tls ? "https" : "http"}://127.0.0.1:${port}`;
    this.lines = [];
    this.open = [];
  }

  sleep(ms) {
    return sleep(ms * this.patience);
  }

  log(...parts) {
    const line = parts.map((p) => (typeof p === "string" ? p : text(p))).join(" ");
    this.lines.push(
      line
        .replace(/(?<=(?:sid|io)(=|\\?":\s?\\?"|"))[A-Za-z0-9_-]{20}([A-Za-z0-9_-]{4})?/g, "<sid>")
        .replaceAll(`:${this.port}`, ":<port>")
        .replace(/(?<=[?&]t=)[\w.-]+/g, "<t>"),
    );
  }

  /** One request; the answer with its body as text. */
  http(method, query, { headers = {}, body, path = "/socket.io/", signal } = {}) {
    return new Promise((resolve, reject) => {
      const options = { method, headers, agent: false, signal, rejectUnauthorized: false };
      const req = (this.tls ? https : http).request(`${this.url}${path}?${query}`, options, (res) => {
        const chunks = [];
        res.on("data", (c) => chunks.push(c));
        res.on("error", reject);
        res.on("end", () => {
          const bytes = Buffer.concat(chunks);
          resolve({ status: res.statusCode, headers: res.headers, body: bytes.toString(), bytes });
        });
      });
      req.on("upgrade", (res, socket) => {
        socket.destroy();
        resolve({ status: res.statusCode, headers: res.headers, body: "" });
      });
      req.on("error", reject);
      req.end(body);
    });
  }

  /** Logs an answer: its status, its headers and its body. */
  answer(what, res) {
    const headers = Object.entries(res.headers)
      .filter(([k]) => !unstable.has(k))
      .filter(([k]) => k !== "content-length" || (res.status === 200 && !res.body.includes("sid")))
      .map(([k, v]) => `${k}: ${v}`)
      .sort();
    this.log(`${what}: ${res.status} {${headers.join("; ")}} ${res.body}`);
    return res;
  }

  async ask(what, ...args) {
    return this.answer(what, await this.http(...args));
  }

  /** Opens a polling session and returns its id and query. */
  async session(eio = 4, more = "") {
    const { body } = await this.http("GET", `EIO=${eio}&transport=polling${more}`);
    const sid = /"sid\\?":\\?"([^"\\]+)/.exec(body)[1];
    return `EIO=${eio}&transport=polling&sid=${sid}${more}`;
  }

  /** Polls once and logs what comes. */
  async poll(session, what = "poll") {
    const res = await this.http("GET", session);
    this.log(`${what}: ${res.status} ${res.status < 400 ? res.body : ""}`);
    return res;
  }

  async post(session, body, headers = {}, what = "post") {
    const res = await this.http("POST", session, { body, headers: { "content-type": "text/plain;charset=UTF-8", ...headers } });
    this.log(`${what}: ${res.status} ${res.status < 400 ? res.body : ""}`);
    return res;
  }

  /** A raw WebSocket, open or refused. next() is a message, or {code} of the close. */
  async ws(query, { path = "/socket.io/", ...options } = {}) {
    const ws = new WebSocket(`${this.url.replace("http", "ws")}${path}?${query}`, {
      perMessageDeflate: false,
      rejectUnauthorized: false,
      ...options,
    });
    const heard = [];
    let wake = () => {};
    const hear = (x) => {
      heard.push(x);
      wake();
    };
    ws.on("message", (data, binary) => hear(binary ? data : data.toString()));
    ws.on("close", (code) => hear({ code }));
    ws.next = async () => {
      while (!heard.length) await new Promise((r) => (wake = r));
      return heard.shift();
    };
    /** Logs n messages (without pings). */
    ws.show = async (n = 1, what = "ws") => {
      for (let i = 0; i < n; ) {
        const m = await ws.next();
        if (m === "2") continue;
        i++;
        this.log(what, m);
        if (m.code) break;
      }
    };
    /** Keeps what is sent until flush, which writes it at once. */
    ws.hold = () => ws._socket?.cork();
    ws.flush = () => ws._socket?.uncork();
    /** Logs everything until the close. */
    ws.end = (what) => ws.show(1e9, what);
    this.open.push(() => ws.terminate());
    await new Promise((resolve) => {
      ws.on("open", resolve);
      ws.on("upgrade", (res) => (ws.answer = res.headers));
      ws.on("unexpected-response", (req, res) => {
        const chunks = [];
        res.on("data", (c) => chunks.push(c));
        res.on("end", () => {
          ws.refused = { status: res.statusCode, headers: res.headers, body: Buffer.concat(chunks).toString() };
          req.destroy();
          resolve();
        });
      });
      ws.on("error", (err) => {
        this.lastError = err;
        resolve();
      });
    });
    return ws;
  }

  /** A raw WebSocket whose CONNECT has been answered. */
  async connected(nsp = "", auth = "") {
    const ws = await this.ws("EIO=4&transport=websocket");
    await ws.next();
    ws.send(`40${nsp ? nsp + "," : ""}${auth}`);
    await ws.next();
    await ws.next(); // "auth"
    return ws;
  }

  /** Sends bytes on a TCP connection, and returns all that comes until it closes (or for ms). */
  tcp(bytes, ms = 1000) {
    return new Promise((resolve) => {
      const c = net.connect(this.port, "127.0.0.1", () => c.write(bytes));
      const chunks = [];
      const done = () => {
        clearTimeout(timer);
        c.destroy();
        resolve(Buffer.concat(chunks).toString("latin1"));
      };
      const timer = setTimeout(done, ms);
      c.on("data", (d) => chunks.push(d));
      c.on("end", done);
      c.on("error", done);
    });
  }

  #client(connect, nsp, options) {
    const socket = connect(this.url + nsp, { forceNew: true, reconnection: false, rejectUnauthorized: false, timeout: 5000, ...options });
    this.open.push(() => socket.disconnect());
    socket.until = (event) => new Promise((r) => socket.once(event, (...args) => r(args)));
    socket.do = (...steps) => new Promise((r) => socket.emit("do", steps, r));
    socket.ask = (event, ...args) => new Promise((r) => socket.emit(event, ...args, (...answer) => r(answer)));
    return socket;
  }

  /** A socket.io-client 4.8; v2 one of 2.5. */
  client(nsp = "/", options = {}) {
    const s = this.#client(io, nsp, options);
    s.heard = (what) => s.onAny((event, ...args) => this.log(what, event, args.filter((a) => typeof a !== "function")));
    return s;
  }

  v2(nsp = "/", options = {}) {
    return this.#client(io2, nsp, options);
  }

  async connect(nsp, options) {
    const s = this.client(nsp, options);
    s.auth1 = s.until("auth");
    await Promise.race([s.until("connect"), s.until("connect_error").then(([e]) => this.log("connect_error", e.message))]);
    await s.auth1;
    return s;
  }

  /** Logs the server's log once it has n lines: sorted, or without refused requests, if told so. */
  async serverLog(n, { sorted, sessions } = {}) {
    const res = await fetch(`${this.admin}/log?n=${n}`);
    const lines = (await res.json()).filter((l) => !sessions || !l.startsWith("connection_error"));
    for (const l of sorted ? lines.sort() : lines) this.log(`server: ${l}`);
  }

  async closeServer() {
    await fetch(`${this.admin}/close`, { method: "POST" });
  }

  end() {
    for (const f of this.open.reverse()) f();
  }
}
