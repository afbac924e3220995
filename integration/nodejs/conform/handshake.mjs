// How sessions are opened and refused: engine.io-protocol v4, sections "Transports" and "Handshake".
import { connect } from "node:http2";
import { sleep } from "./peer.mjs";

const key = "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==";
const upgrade = (query, lines, version = "HTTP/1.1", method = "GET") =>
  [`${method} /socket.io/?${query} ${version}`, "Host: x", ...lines, "", ""].join("\r\n");

const refusedSocket = (p, what, ws) => {
  if (!ws.refused) return p.log(what, "not refused", ws.readyState);
  p.answer(what, ws.refused);
};

/** The status of a raw answer; with its headers if it is a 101. */
const raw = (p, what, answer) => {
  const [status, ...headers] = answer.split("\r\n\r\n")[0].split("\r\n");
  p.log(what, status, status.includes(" 101 ") ? headers.map((h) => h.toLowerCase()).sort().join("; ") : "");
};

export default {
  "polling opens": {
    run: async (p) => {
      await p.ask("open", "GET", "EIO=4&transport=polling");
      await p.ask("b64 is ignored in revision 4", "GET", "EIO=4&transport=polling&b64=1");
      await p.ask("with headers", "GET", "EIO=4&transport=polling", { headers: { "user-agent": "x;MSIE 9" } });
    },
  },
  "websocket opens": {
    run: async (p) => {
      const ws = await p.ws("EIO=4&transport=websocket");
      await ws.show();
      ws.close();
      await ws.show();
    },
  },
  "values of the open packet": {
    options: { pingInterval: 1234, pingTimeout: 567, maxHttpBufferSize: 8901 },
    run: async (p) => {
      await p.ask("open", "GET", "EIO=4&transport=polling");
      await (await p.ws("EIO=4&transport=websocket")).show();
    },
  },
  "upgrades disabled": {
    options: { allowUpgrades: false },
    run: async (p) => {
      await p.ask("open", "GET", "EIO=4&transport=polling");
    },
  },
  "polling only": {
    options: { transports: ["polling"] },
    run: async (p) => {
      await p.ask("open", "GET", "EIO=4&transport=polling");
      await p.ask("websocket", "GET", "EIO=4&transport=websocket");
      await p.serverLog(1);
    },
  },
  "websocket only": {
    options: { transports: ["websocket"] },
    run: async (p) => {
      await p.ask("polling", "GET", "EIO=4&transport=polling");
      await (await p.ws("EIO=4&transport=websocket")).show();
      await p.serverLog(1);
    },
  },
  "refused over HTTP": {
    differs: {
      "server: connection_error 0 Transport unknown {\"transport\":": "\"\" where there is none; Node: undefined",
    },
    run: async (p) => {
      const session = await p.session();
      for (const [method, query] of [
        ["GET", "EIO=4"],
        ["GET", "transport=polling"],
        ["GET", "EIO=4&transport="],
        ["GET", "EIO=4&transport=tube"],
        ["GET", "EIO=4&transport=constructor"],
        ["GET", "EIO=4&transport=webtransport"],
        ["GET", "EIO=4&transport=polling&sid=unknown"],
        ["POST", "EIO=4&transport=polling&sid=unknown"],
        ["GET", "EIO=4&transport=polling&sid=__proto__"],
        ["GET", "EIO=4&transport=websocket&sid=unknown"],
        ["GET", "EIO=4&transport=tube&sid=unknown"],
        ["POST", "EIO=4&transport=polling"],
        ["PUT", "EIO=4&transport=polling"],
        ["DELETE", "EIO=4&transport=polling"],
        ["OPTIONS", "EIO=4&transport=polling"],
        ["GET", "EIO=4&transport=websocket"],
        ["GET", "EIO=3&transport=polling"],
        ["GET", "EIO=5&transport=polling"],
        ["GET", "EIO=abc&transport=polling"],
        ["GET", session.replace("polling", "websocket")],
        ["GET", session.replace("EIO=4", "EIO=3")],
        ["POST", session.replace("EIO=4", "EIO=3")],
      ])
        await p.ask(`${method} ${query}`, method, query);
      await p.serverLog(22);
    },
  },
  "other methods in a session": {
    run: async (p) => {
      const session = await p.session();
      for (const method of ["PUT", "DELETE", "PATCH"]) {
        const res = await p.http(method, session);
        p.log(method, res.status >= 400);
      }
      await p.post(session, "40");
      await p.poll(session);
    },
  },
  "refused over WebSocket": {
    differs: {
      "EIO=4&transport=polling": "refused as others are; Node opens the WebSocket and closes it",
      "transport=websocket": "the same",
      "EIO=3&transport=websocket:": "the same",
      "EIO=3&transport=websocket not": "the same",
      "EIO=abc": "the same",
      "server: ": "so there is one more error",
    },
    run: async (p) => {
      const session = await p.session();
      for (const query of [
        "EIO=4",
        "EIO=4&transport=tube",
        "EIO=4&transport=polling",
        "transport=websocket",
        "EIO=3&transport=websocket",
        "EIO=abc&transport=websocket",
        "EIO=4&transport=websocket&sid=unknown",
        session.replace("EIO=4", "EIO=3").replace("polling", "websocket"),
      ])
        refusedSocket(p, query, await p.ws(query));
      await p.serverLog(8);
    },
  },
  "WebSocket handshake": {
    differs: {
      "version 12": "RFC 6455, 4.4: 426",
      "no version": "the same",
    },
    run: async (p) => {
      const q = "EIO=4&transport=websocket";
      const up = ["Connection: Upgrade", "Upgrade: websocket"];
      raw(p, "no key", await p.tcp(upgrade(q, [...up, "Sec-WebSocket-Version: 13"])));
      raw(p, "short key", await p.tcp(upgrade(q, [...up, "Sec-WebSocket-Version: 13", "Sec-WebSocket-Key: abc"])));
      raw(p, "version 12", await p.tcp(upgrade(q, [...up, "Sec-WebSocket-Version: 12", key])));
      raw(p, "no version", await p.tcp(upgrade(q, [...up, key])));
      raw(p, "POST", await p.tcp(upgrade(q, [...up, "Sec-WebSocket-Version: 13", key], "HTTP/1.1", "POST")));
      raw(p, "another protocol", await p.tcp(upgrade(q, ["Connection: Upgrade", "Upgrade: h2c", "Sec-WebSocket-Version: 13", key])));
      raw(p, "bad extension", await p.tcp(upgrade(q, [...up, "Sec-WebSocket-Version: 13", key, "Sec-WebSocket-Extensions: permessage-deflate; x=;"])));
      raw(p, "good", (await p.tcp(upgrade(q, ["Connection: keep-alive, UPGRADE", "Upgrade: WebSocket", "Sec-WebSocket-Version: 13", key]), 200)).split("\r\n\r\n")[0]);
      raw(p, "subprotocols", (await p.tcp(upgrade(q, [...up, "Sec-WebSocket-Version: 13", key, "Sec-WebSocket-Protocol: a, b"]), 200)).split("\r\n\r\n")[0]);
    },
  },
  "allowRequest refuses": {
    options: { allow: true },
    run: async (p) => {
      const refuse = { headers: { "x-refuse": "not today" } };
      await p.ask("polling", "GET", "EIO=4&transport=polling", refuse);
      await p.ask("allowed", "GET", "EIO=4&transport=polling");
      refusedSocket(p, "websocket", await p.ws("EIO=4&transport=websocket", refuse));
      refusedSocket(p, "revision 3 is refused later", await p.ws("EIO=3&transport=websocket", refuse));
      const s = p.client("/", { transports: ["polling"], extraHeaders: refuse.headers });
      const [err] = await s.until("connect_error");
      p.log("client", err.message, err.description, String(err.context?.responseText ?? ""));
      await p.serverLog(4);
    },
  },
  "cookie": {
    options: { cookie: { name: "sid" } },
    run: async (p) => {
      const { body } = await p.ask("open", "GET", "EIO=4&transport=polling");
      const sid = JSON.parse(body.slice(1)).sid;
      const res = await p.http("POST", `EIO=4&transport=polling&sid=${sid}`, { body: "40" });
      p.log("only the first answer has it", res.headers["set-cookie"]);
      const ws = await p.ws("EIO=4&transport=websocket");
      p.log("websocket", ws.answer?.["set-cookie"]);
    },
  },
  "cookie attributes": {
    options: { cookie: { name: "io", path: "/x", sameSite: "strict", maxAge: 3600, secure: true, domain: "example.com" } },
    run: async (p) => {
      const { headers } = await p.http("GET", "EIO=4&transport=polling");
      p.log(headers["set-cookie"].map((c) => c.split("; ").sort().join("; ")));
    },
  },
  "no cookie": {
    run: async (p) => {
      p.log((await p.http("GET", "EIO=4&transport=polling")).headers["set-cookie"]);
    },
  },
  "engine headers": {
    options: { engineHeaders: true },
    run: async (p) => {
      const { body } = await p.ask("open", "GET", "EIO=4&transport=polling");
      const session = `EIO=4&transport=polling&sid=${JSON.parse(body.slice(1)).sid}`;
      await p.ask("post", "POST", session, { body: "40" });
      await p.ask("poll", "GET", session);
      const ws = await p.ws("EIO=4&transport=websocket");
      p.log("websocket", ws.answer["x-initial"], ws.answer["x-every"]);
      const other = await p.ws(session.replace("polling", "websocket"));
      p.log("upgrade", other.answer["x-initial"], other.answer["x-every"]);
    },
  },
  "CORS by origin": {
    options: { cors: { origin: "https://a.example", credentials: true, methods: ["GET", "POST"], allowedHeaders: ["X-A"], exposedHeaders: ["X-B"], maxAge: 60 } },
    run: async (p) => {
      const from = (origin) => ({ headers: { origin } });
      await p.ask("open", "GET", "EIO=4&transport=polling", from("https://a.example"));
      await p.ask("foreign", "GET", "EIO=4&transport=polling", from("https://b.example"));
      await p.ask("refused request", "GET", "EIO=4&transport=polling&sid=x", from("https://a.example"));
      const preflight = (origin) => ({ headers: { origin, "access-control-request-method": "POST", "access-control-request-headers": "x-a" } });
      await p.ask("preflight", "OPTIONS", "EIO=4&transport=polling", preflight("https://a.example"));
      await p.ask("foreign preflight", "OPTIONS", "EIO=4&transport=polling", preflight("https://b.example"));
    },
  },
  "CORS for all": {
    options: { cors: { origin: "*" } },
    run: async (p) => {
      await p.ask("open", "GET", "EIO=4&transport=polling", { headers: { origin: "https://a.example" } });
      await p.ask("preflight", "OPTIONS", "EIO=4&transport=polling", {
        headers: { origin: "https://a.example", "access-control-request-method": "POST", "access-control-request-headers": "x-a,x-b" },
      });
    },
  },
  "CORS for a list": {
    options: { cors: { origin: ["https://a.example", "https://b.example"] } },
    run: async (p) => {
      for (const origin of ["https://a.example", "https://b.example", "https://c.example"])
        await p.ask(origin, "GET", "EIO=4&transport=polling", { headers: { origin } });
      const session = await p.session();
      await p.ask("post", "POST", session, { body: "40", headers: { origin: "https://a.example" } });
      await p.ask("poll", "GET", session, { headers: { origin: "https://a.example" } });
    },
  },
  "no CORS": {
    run: async (p) => {
      await p.ask("open", "GET", "EIO=4&transport=polling", { headers: { origin: "https://a.example" } });
    },
  },
  "another path": {
    options: { path: "/my/path" },
    run: async (p) => {
      const status = async (path) => p.log(path, (await p.http("GET", "EIO=4&transport=polling", { path })).status);
      for (const path of ["/my/path/", "/my/path", "/my/path/more", "/socket.io/", "/my/pathetic/"]) await status(path);
    },
  },
  "path without slash": {
    options: { addTrailingSlash: false },
    run: async (p) => {
      const status = async (path) => p.log(path, (await p.http("GET", "EIO=4&transport=polling", { path })).status);
      for (const path of ["/socket.io", "/socket.io/", "/socket.iox", "/other"]) await status(path);
    },
  },
  "initial packet": {
    options: { initialPacket: "hello" },
    run: async (p) => {
      await p.ask("open", "GET", "EIO=4&transport=polling");
      await (await p.ws("EIO=4&transport=websocket")).show(2);
    },
  },
  "TLS": {
    options: { tls: true },
    run: async (p) => {
      for (const transports of [["websocket"], ["polling"], ["polling", "websocket"]]) {
        const s = await p.connect("/", { transports });
        if (transports.length > 1 && s.io.engine.transport.name === "polling") await new Promise((r) => s.io.engine.once("upgrade", r));
        const h = await s.do({ op: "handshake" });
        p.log(transports, h.secure, h.transport, await s.ask("message-with-ack", "x", Buffer.from([1, 2])));
        s.disconnect();
      }
    },
  },
  "polling over HTTP/2 without TLS": {
    options: { h2c: true },
    run: async (p) => {
      const client = connect(p.url);
      const ask = (method, query, body) =>
        new Promise((resolve, reject) => {
          const type = body ? { "content-type": "text/plain;charset=UTF-8" } : {};
          const req = client.request({ ":method": method, ":path": `/socket.io/?EIO=4&transport=polling${query}`, ...type });
          let status;
          let text = "";
          req.setEncoding("utf8");
          req.on("response", (h) => (status = h[":status"]));
          req.on("data", (data) => (text += data));
          req.on("end", () => resolve({ status, text }));
          req.on("error", reject);
          req.end(body);
        });
      const { text } = await ask("GET", "");
      const sid = `&sid=${JSON.parse(text.slice(1)).sid}`;
      const log = (what, { status, text }) => p.log(what, status, text);
      await ask("POST", sid, "40");
      await ask("GET", sid); // the answer, whose sid is random
      const waits = ask("GET", sid);
      log("post", await ask("POST", sid, '42["message","over HTTP/2"]'));
      log("poll that waits", await waits);
      log("unknown session", await ask("GET", "&sid=x"));
      const last = ask("GET", sid);
      log("close", await ask("POST", sid, "1"));
      log("last poll", await last);
      client.close();
    },
  },
  "handshake as handlers see it": {
    run: async (p) => {
      const s = await p.connect("/", { transports: ["websocket"], query: { a: "1", b: "ü &" }, auth: { token: "x" }, extraHeaders: { "x-test": "yes" } });
      p.log(await s.do({ op: "handshake" }));
      const s2 = await p.connect("/custom", { transports: ["polling"], query: { a: "1" }, extraHeaders: { origin: "https://a.example" } });
      const h = await s2.do({ op: "handshake" });
      delete h.query.t;
      p.log(h);
      await sleep(0);
    },
  },
};
