// Engine.IO 3 and socket.io-client 2.x, with allowEIO3: engine.io-protocol v3 and socket.io-protocol v4.
import { sleep } from "./peer.mjs";

const options = { allowEIO3: true };
/** A text payload, lengths in UTF-16 units. */
const payload = (...packets) => packets.map((x) => `${x.length}:${x}`).join("");
const bin = Buffer.from([0, 1, 254, 255]);
const open = async (p, more = "") => {
  const s = await p.session(3, more);
  await p.poll(s, "namespace");
  return s;
};
const over = (name, run, o = options) =>
  Object.fromEntries(
    Object.entries({ websocket: ["websocket"], polling: ["polling"], jsonp: ["polling"], upgrade: ["polling", "websocket"] }).map(([t, transports]) => [
      `revision 3: ${name} over ${t}`,
      { options: o, run: (p) => run(p, { transports, ...(t === "jsonp" ? { forceBase64: true } : {}) }, t) },
    ]),
  );
const connect = async (p, nsp, o) => {
  const s = p.v2(nsp, o);
  const auth = s.until("auth");
  await s.until("connect");
  p.log("auth", await auth);
  return s;
};

export default {
  "revision 3: opens": {
    options,
    differs: { "jsonp type": "it is JavaScript; Node says text/plain, which browsers refuse with nosniff" },
    run: async (p) => {
      await p.ask("polling", "GET", "EIO=3&transport=polling");
      await p.ask("base64", "GET", "EIO=3&transport=polling&b64=1");
      await p.ask("no version", "GET", "transport=polling&b64=1");
      for (const query of ["EIO=3&transport=polling&j=4", "EIO=3&transport=polling&j=4%3Balert(1)//x", "EIO=4&transport=polling&j=4"]) {
        const res = await p.http("GET", query);
        p.log("jsonp", res.body);
        p.log("jsonp type", res.headers["content-type"]);
      }
      const ws = await p.ws("EIO=3&transport=websocket");
      await ws.show(3);
    },
  },
  "revision 3: text payloads": {
    options,
    differs: { "probe": "the document: the pong has the data of the ping; Node leaves it out" },
    run: async (p) => {
      const s = await open(p, "&b64=1");
      await p.post(s, payload('42["message","hey"]'));
      await p.poll(s);
      await p.post(s, payload('42["message","a"]', '42["message","b"]'));
      await p.poll(s);
      await p.post(s, payload('42["message","€😀"]'));
      await p.poll(s);
      await p.post(s, payload('451-["message",{"_placeholder":true,"num":0}]', "b4AQIDBA=="));
      await p.poll(s);
      await p.post(s, "1:2");
      await p.poll(s, "pong");
      await p.post(s, "6:2probe");
      await p.poll(s, "probe");
    },
  },
  "revision 3: binary payloads": {
    options,
    run: async (p) => {
      const s = await p.session(3);
      const show = async (what) => {
        const res = await p.http("GET", s);
        p.log(what, res.status, res.headers["content-type"], JSON.stringify(res.bytes.toString("latin1")));
      };
      await show("namespace");
      await p.post(s, payload('451-["message",{"_placeholder":true,"num":0}]', "b4AQIDBA=="));
      await show("event with attachment");
      const packet = (binary, data) => Buffer.concat([Buffer.from([binary, ...String(data.length).split("").map(Number), 255]), data]);
      const body = Buffer.concat([
        packet(0, Buffer.from('451-["message",{"_placeholder":true,"num":0}]')),
        packet(1, Buffer.from([4, 9, 8, 7])),
      ]);
      await p.post(s, body, { "content-type": "application/octet-stream" }, "binary post");
      await show("event with attachment");
      await p.post(s, packet(0, Buffer.from('42["message","ü"]', "utf8")), { "content-type": "application/octet-stream" }, "text in binary post");
      await show("event");
    },
  },
  "revision 3: binary payloads of other types": {
    options,
    differs: { malformed: "Node makes packets of it" },
    run: async (p) => {
      const message = Buffer.concat([Buffer.from([0, 1, 7, 255]), Buffer.from('42["message","x"]')]);
      const attachment = Buffer.concat([Buffer.from([1, 5, 255, 4]), bin]);
      for (const [what, type, body] of [
        ["text/plain", "text/plain", message],
        ["text/plain, attachment", "text/plain", attachment],
        ["none", undefined, message],
        ["with parameter", "application/octet-stream; charset=x-user-defined", message],
        ["in capitals", "Application/Octet-Stream", message],
        ["text in binary type", "application/octet-stream", Buffer.from(payload('42["message","x"]'))],
        ["ping in binary", "application/octet-stream", Buffer.from([1, 1, 255, 2])],
        ["unknown packet in binary", "application/octet-stream", Buffer.from([1, 2, 255, 9, 9])],
        ["ping as text in binary type", "application/octet-stream", Buffer.from([0, 1, 255, 50])],
        ["empty packet", "application/octet-stream", Buffer.from([0, 0, 255])],
        ["empty binary packet", "application/octet-stream", Buffer.from([1, 0, 255])],
        ["no packet", "application/octet-stream", Buffer.from([])],
        ["malformed, other mark", "application/octet-stream", Buffer.from([2, 1, 255, 50])],
        ["malformed, too short", "application/octet-stream", Buffer.from([0, 9, 255, 50])],
        ["invalid UTF-8", "application/octet-stream", Buffer.from([0, 2, 255, 50, 200])],
      ]) {
        const s = await open(p);
        const status = await p.http("POST", s, { body, headers: type ? { "content-type": type } : {} }).then((r) => (r.status === 200 ? 200 : "refused"), () => "refused");
        const res = await p.http("POST", s, { body: "1:2" });
        const got = res.status === 200 ? (await p.http("GET", s)).bytes.toString("latin1") : "";
        p.log(what, status === 200 && res.status === 200 ? "alive" : "closed", JSON.stringify(got)); // Node answers some with 200 before it closes
      }
    },
  },
  "revision 3: bad payloads": {
    options,
    run: async (p) => {
      for (const body of ["abc", "", "3:42", "2:42x", "0:", "x:42", "-1:4", "1:9", "99999:4", "1:3", "1:0", "1:6"]) {
        const s = await p.session(3, "&b64=1");
        const status = await p.http("POST", s, { body }).then((r) => (r.status === 200 ? 200 : "refused"), () => "refused");
        const alive = (await p.http("POST", s, { body: "1:2" })).status === 200;
        p.log(JSON.stringify(body), status === 200 && alive ? "alive" : "closed"); // Node answers some with 200 before it closes
      }
    },
  },
  "revision 3: closes by POST": {
    options,
    run: async (p) => {
      const s = await open(p, "&b64=1");
      const poll = p.http("GET", s);
      await p.sleep(50);
      await p.post(s, "1:1");
      p.log((await poll).body);
      p.log("then", (await p.http("GET", s)).status);
      await p.serverLog(3);
    },
  },
  "revision 3: polls that overlap": {
    options,
    run: async (p) => {
      const s = await open(p, "&b64=1");
      const first = p.http("GET", s);
      await p.sleep(50);
      p.log("second", (await p.http("GET", s)).status);
      p.log("first", (await first).body);
    },
  },
  "revision 3: JSONP": {
    options,
    run: async (p) => {
      const s = await p.session(3, "&j=0");
      await p.poll(s, "namespace");
      const form = { "content-type": "application/x-www-form-urlencoded" };
      const send = async (packet) => {
        const body = payload(packet).replace(/\\n/g, "\\\\n");
        await p.ask("post", "POST", s, { body: `d=${encodeURIComponent(body)}`, headers: form });
        await p.poll(s);
      };
      await send('42["message","plain"]');
      await send('42["message","quotes \\" and \\\\ and </script> <!-- ü € \u2028\u2029"]');
      await send('42["message","new\\nline"]');
      await send('42["message","+ & = % ;"]');
    },
  },
  "revision 3: JSONP payload with attachment": {
    options,
    differs: {
      "binary poll": "in base64; Node sends the text of a Buffer, which no client understands",
      "no form": "a body that is not a form is malformed",
    },
    run: async (p) => {
      const s = await p.session(3, "&j=12");
      await p.poll(s, "namespace");
      const body = payload('451-["message",{"_placeholder":true,"num":0}]', "b4AQIDBA==");
      await p.ask("post", "POST", s, { body: `d=${encodeURIComponent(body)}`, headers: { "content-type": "application/x-www-form-urlencoded" } });
      await p.poll(s, "binary poll");
      await p.post(s, "nothing", {}, "no form");
    },
  },
  "revision 3: websocket": {
    options,
    differs: { "probe": "the document: the pong has the data of the ping; Node leaves it out" },
    run: async (p) => {
      const ws = await p.ws("EIO=3&transport=websocket");
      await ws.show(3);
      ws.send("2");
      await ws.show();
      ws.send("2probe");
      await ws.show(1, "probe");
      ws.send('42["message","hey"]');
      await ws.show();
      ws.send('451-["message",{"_placeholder":true,"num":0}]');
      ws.send(Buffer.from([4, 1, 2, 3]));
      await ws.show(2);
      ws.send('4212["message-with-ack",1]');
      await ws.show();
      ws.send("40/custom,");
      await ws.show(2);
      ws.send("40/custom?token=abc,");
      await ws.show(1);
    },
  },
  "revision 3: packets": {
    options,
    differs: { '["1"]': "a close packet closes; Node ignores it" },
    run: async (p) => {
      for (const list of [["abc"], ["3"], ["40/custom?a=b,"], ["40/random,"], ["40/refuse,"], ["40/refuse?data=1,"], ["40"], ["1"], ["42[]"], ['42["disconnect"]']]) {
        const ws = await p.ws("EIO=3&transport=websocket");
        for (let i = 0; i < 3; i++) await ws.next();
        list.forEach((m) => ws.send(m));
        const until = p.sleep(200);
        const heard = [];
        for (let m; (m = await Promise.race([ws.next(), until])); ) {
          heard.push(m);
          if (m.code) break;
        }
        p.log(list, "=>", heard);
        ws.terminate();
      }
    },
  },
  "revision 3: upgrade": {
    options,
    run: async (p) => {
      const s = await open(p, "&b64=1");
      const ws = await p.ws(s.replace("polling", "websocket"));
      ws.send("2probe");
      await ws.show();
      await p.poll(s);
      ws.send("5");
      ws.send('42["message","hello"]');
      await ws.show();
      p.log((await p.http("GET", s)).body);
    },
  },
  "revision 3: ping timeout": {
    options: { ...options, pingInterval: 150, pingTimeout: 100 },
    run: async (p) => {
      const ws = await p.ws("EIO=3&transport=websocket");
      await ws.next();
      await ws.end();
      await p.serverLog(3);
    },
  },
  ...over("events and acks", async (p, o, t) => {
    const s = await connect(p, "/", o);
    if (t === "upgrade" && s.io.engine.transport.name === "polling") await new Promise((r) => s.io.engine.once("upgrade", r));
    for (const args of [[], [1, "2", { 3: [true] }], ["€ ü 😀 \u2028 <&>"], [bin, { a: bin }], ["x".repeat(100_000)], [Buffer.alloc(100_000, 7)]]) {
      const back = s.until("message-back");
      s.emit("message", ...args);
      const show = (v) => (JSON.stringify(v).length > 1000 ? `large ${args[0].length}` : v);
      p.log("event", show(await back));
      p.log("ack", show(await s.ask("message-with-ack", ...args)));
    }
    s.on("question", (x, ack) => ack(bin, x));
    const called = s.until("called");
    s.emit("do", [{ op: "call", event: "question", args: [bin] }]);
    p.log("called", await called);
    const left = s.until("disconnect");
    s.emit("do", [{ op: "emit", event: "before" }, { op: "disconnect", close: true }]);
    p.log(await left);
    await p.serverLog(4);
  }),
  "revision 3: namespaces and rooms": {
    options,
    run: async (p) => {
      const a = await connect(p, "/", { transports: ["websocket"] });
      const b = a.io.socket("/custom", { query: { x: "1" } });
      p.log("query", await new Promise((r) => b.once("auth", r)));
      const h = await new Promise((r) => b.emit("do", [{ op: "handshake" }], r));
      delete h.query.t;
      p.log(h);
      const c = a.io.socket("/refuse");
      p.log("refused", await new Promise((r) => c.once("error", r)));
      const d = a.io.socket("/nowhere");
      p.log("unknown", await new Promise((r) => d.once("error", r)));
      const e = await connect(p, "/dyn-3", { transports: ["polling"] });
      p.log(await e.do({ op: "join", rooms: ["r"] }, { op: "rooms" }));
      const got = e.until("x");
      e.emit("do", [{ op: "send", event: "x", to: ["r"], args: [1, bin.toString("hex")] }]);
      p.log(await got);
      b.disconnect();
      const left = a.until("disconnect");
      a.emit("do", [{ op: "disconnect" }]);
      p.log(await left);
    },
  },
  "revision 3: both revisions in one room": {
    options,
    run: async (p) => {
      const a = await connect(p, "/", { transports: ["polling"] });
      const b = await p.connect("/", { transports: ["websocket"] });
      const heard = Promise.all([a.until("x"), b.until("x")]);
      await b.do({ op: "send", event: "x", args: ["€", { b: 1 }] });
      p.log(await heard);
      const back = Promise.all([a.until("message-back"), b.until("message-back")]);
      a.emit("message", bin);
      b.emit("message", bin);
      p.log(await back);
    },
  },
  ...over(
    "5,000 events in order",
    async (p, o) => {
      const s = await connect(p, "/", o);
      const done = s.until("ordered-done");
      for (let i = 0; i < 5000; i++) {
        s.emit("ordered", i, i === 4999);
        if (i % 100 === 0) await sleep(1);
      }
      p.log("server", await done);
    },
  ),
};
