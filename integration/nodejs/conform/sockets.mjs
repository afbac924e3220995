// What users of socket.io-client see: events, acknowledgements, rooms, middlewares, recovery, order.
import { sleep } from "./peer.mjs";

const bin = Buffer.from([0, 1, 254, 255]);
const transports = { websocket: ["websocket"], polling: ["polling"], upgrade: ["polling", "websocket"] };
const over = (name, options, run) =>
  Object.fromEntries(
    Object.entries(transports).map(([t, list]) => [
      `${name} over ${t}`,
      {
        options,
        run: async (p) => {
          p.options = { transports: list };
          await run(p, t);
        },
      },
    ]),
  );

/** Three clients, in rooms a; a and b; b. */
const three = async (p) => {
  const all = [];
  for (const rooms of [["a"], ["a", "b"], ["b"]]) {
    const s = await p.connect("/", { transports: ["websocket"] });
    await s.do({ op: "join", rooms }, { op: "data", set: { rooms } });
    all.push(s);
  }
  return all;
};

/** Logs who of the clients gets what until each has heard "end". */
const listen = (p, clients) =>
  Promise.all(
    clients.map(async (s, i) => {
      const heard = [];
      await new Promise((done) => {
        const on = (event, ...args) => {
          if (event === "end") {
            s.offAny(on);
            return done();
          }
          heard.push([event, ...args]);
        };
        s.onAny(on);
      });
      return [i, heard];
    }),
  ).then((all) => all.forEach(([i, heard]) => p.log(`client ${i}`, heard)));

export default {
  ...over("events and acks", {}, async (p, t) => {
    const s = await p.connect("/", { ...p.options, auth: { user: "u" } });
    p.log("auth", await s.auth1);
    if (t === "upgrade" && s.io.engine.transport.name === "polling") await new Promise((r) => s.io.engine.once("upgrade", r));
    for (const args of [[], [1, "2", { 3: [true] }], [null], ["€ ü 😀 \u2028 <&>"], [bin, { a: bin, b: [bin] }], [new Date(0)], [undefined], [[[]], {}], [Buffer.alloc(0)], ["x".repeat(200_000)], [Buffer.alloc(200_000, 7)]]) {
      const back = s.until("message-back");
      s.emit("message", ...args);
      const show = (v) => (JSON.stringify(v).length > 1000 ? `large ${args[0].length}` : v);
      p.log("event", show(await back));
      p.log("ack", show(await s.ask("message-with-ack", ...args)));
    }
    p.log("transport", await s.do({ op: "transport" }));
  }),
  ...over("server asks for acks", {}, async (p) => {
    const s = await p.connect("/", p.options);
    s.on("question", (...args) => args.pop()("answer", ...args));
    s.on("binary", (ack) => ack(bin));
    s.on("empty", (ack) => ack());
    for (const [event, args] of [["question", [1, { a: 2 }]], ["binary", []], ["empty", []]]) {
      const called = s.until("called");
      s.emit("do", [{ op: "call", event, args }]);
      p.log(event, await called);
    }
    s.on("late", (ack) => s.once("called", () => ack("too late")));
    const called = s.until("called");
    s.emit("do", [{ op: "call", event: "late", timeout: 150 }]);
    p.log("late", await called);
    const fine = s.until("called");
    s.emit("do", [{ op: "call", event: "question", timeout: 5000 }]);
    p.log("in time", await fine);
    await p.serverLog(6);
  }),
  "client ack timeout": {
    run: async (p) => {
      const s = await p.connect("/", { transports: ["websocket"] });
      p.log(await new Promise((r) => s.timeout(100).emit("unknown", (err) => r(err.message))));
      p.log(await s.timeout(5000).emitWithAck("message-with-ack", 1));
    },
  },
  "socket.use": {
    run: async (p) => {
      const s = await p.connect("/", { transports: ["websocket"] });
      await s.do({ op: "use", name: "first" }, { op: "use", name: "second" });
      s.emit("passed", 1, bin);
      await p.serverLog(4);
      s.emit("refused", 2);
      await p.serverLog(6);
      s.emit("dropped", 3);
      await p.serverLog(7);
      p.log(await s.ask("passed", 4));
      await p.serverLog(10);
    },
  },
  "onAny and onAnyOutgoing": {
    run: async (p) => {
      const s = await p.connect("/", { transports: ["websocket"] });
      await s.do({ op: "any" });
      s.emit("message", 1, bin);
      await p.serverLog(3);
      p.log(await s.ask("passed", 2));
      s.emit("unknown", { a: 1 });
      await s.do({ op: "emit", event: "x", args: [1] }, { op: "send", event: "y", args: [2] });
      s.on("question", (_, ack) => ack(1));
      const called = s.until("called");
      s.emit("do", [{ op: "call", event: "question", args: [3] }]);
      await called;
      await p.serverLog(13);
    },
  },
  "emits of the server": {
    run: async (p) => {
      const s = await p.connect("/", { transports: ["websocket"] });
      const heard = listen(p, [s]);
      await s.do(
        { op: "emit", event: "plain", args: [1] },
        { op: "emit", event: "uncompressed", args: [3], compress: false },
        { op: "emit", event: "", args: [4] },
        { op: "emit", event: "message", args: [null, true, 1.5, "x", [], {}] },
        { op: "emit", event: "end" },
      );
      await heard;
      await p.sleep(50);
      const got = s.until("volatile");
      s.emit("do", [{ op: "emit", event: "volatile", args: [2], volatile: true }]);
      p.log(await got);
      const all = s.until("all");
      await p.sleep(50);
      s.emit("do", [{ op: "send", event: "all", args: [3], volatile: true }]);
      p.log(await all);
    },
  },
  "volatile before the transport can take it": {
    run: async (p) => {
      const s = await p.session();
      await p.post(s, "40");
      await p.poll(s);
      // Nobody polls: volatile events are dropped, the others wait.
      await p.post(s, '42["do",[{"op":"emit","event":"v1","volatile":true},{"op":"emit","event":"kept"},{"op":"emit","event":"v2","volatile":true},{"op":"send","event":"v3","volatile":true}]]');
      await p.poll(s);
      const poll = p.http("GET", s);
      await p.sleep(50);
      await p.post(s, '42["do",[{"op":"emit","event":"v4","volatile":true}]]');
      p.log("poll", (await poll).body);
    },
  },
  "rooms": {
    run: async (p) => {
      const clients = await three(p);
      const [s] = clients;
      const heard = listen(p, clients);
      const steps = [
        { event: "all" },
        { event: "to a", to: ["a"] },
        { event: "to a and b once", to: ["a", "b"] },
        { event: "except a", except: ["a"] },
        { event: "to b except a", to: ["b"], except: ["a"] },
        { event: "to nobody", to: ["c"] },
        { event: "except nobody", except: ["c"] },
        { event: "local", local: true },
        { event: "broadcast", from: "socket" },
        { event: "socket to a", from: "socket", to: ["a"] },
        { event: "socket to a and b", from: "socket", to: ["a", "b"] },
        { event: "socket except b", from: "socket", except: ["b"] },
        { event: "binary", to: ["a"], args: [bin, { x: [bin] }] },
        { event: "end" },
      ];
      p.log(await s.do({ op: "rooms" }));
      s.emit("do", steps.map((x) => ({ op: "send", ...x })));
      await heard;
      p.log(await s.do({ op: "join", rooms: ["x", "y"] }, { op: "leave", rooms: ["a", "x"] }, { op: "rooms" }));
    },
  },
  "sockets of the server": {
    run: async (p) => {
      const clients = await three(p);
      const [s] = clients;
      p.log("all", await s.do({ op: "fetch" }));
      p.log("a", await s.do({ op: "fetch", to: ["a"] }));
      p.log("join", await s.do({ op: "all", to: ["b"], join: ["c", "d"] }, { op: "fetch" }));
      p.log("leave", await s.do({ op: "all", except: ["a"], leave: "c" }, { op: "fetch" }));
      p.log("of others", await s.do({ op: "all", join: "e" }, { op: "fetch", to: ["e"] }));
      const gone = Promise.all(clients.slice(1).map((c) => c.until("disconnect")));
      await s.do({ op: "all", to: ["b"], disconnect: true });
      p.log((await gone).map(([reason]) => reason));
      p.log("left", await s.do({ op: "fetch" }));
      await p.serverLog(7, { sorted: true });
    },
  },
  "a broadcast with acks": {
    run: async (p) => {
      const clients = await three(p);
      clients.forEach((c, i) => {
        c.on("q", (ack) => ack(i));
        c.on("partly", (ack) => i !== 1 && ack(i));
        c.on("bin", (ack) => ack(bin, i));
        c.on("nothing", (ack) => ack());
      });
      const ask = async (step) => {
        const asked = clients[0].until("asked");
        clients[0].emit("do", [{ op: "ask", timeout: 300, ...step }]);
        p.log(step.event, await asked);
      };
      await ask({ event: "q" });
      await ask({ event: "q", to: "a" });
      await ask({ event: "bin", to: "b" });
      await ask({ event: "nothing" });
      await ask({ event: "partly" });
      await ask({ event: "q", to: "nobody" });
      await p.serverLog(9);
    },
  },
  "namespaces on one connection": {
    run: async (p) => {
      const a = await p.connect("/", { transports: ["websocket"] });
      const b = a.io.socket("/custom", { auth: { x: 1 } });
      p.log("auth", await new Promise((r) => b.once("auth", r)));
      const c = a.io.socket("/dyn-7");
      await new Promise((r) => c.once("auth", r));
      const d = a.io.socket("/refuse", { auth: { data: 1 } });
      const err = await new Promise((r) => d.once("connect_error", r));
      p.log("refused", err.message, err.data);
      const e = a.io.socket("/nowhere");
      p.log("unknown", (await new Promise((r) => e.once("connect_error", r))).message);
      const back = (s, v) => new Promise((r) => s.emit("message-with-ack", v, r));
      p.log(await Promise.all([back(a, 1), back(b, 2), back(c, 3)]));
      b.disconnect();
      p.log("a lives", await back(a, 4));
      const left = new Promise((r) => c.once("disconnect", r));
      c.emit("do", [{ op: "disconnect" }]);
      p.log("c", await left, a.connected);
      b.connect();
      await new Promise((r) => b.once("connect", r));
      p.log("b again", await back(b, 5));
      await p.serverLog(8);
    },
  },
  ...over("5,000 events in order", {}, async (p, t) => {
    const s = await p.connect("/", p.options);
    const done = s.until("ordered-done");
    for (let i = 0; i < 5000; i++) {
      s.emit("ordered", i, i === 4999);
      if (t === "upgrade" && i % 50 === 0) await sleep(1); // the upgrade happens in between
    }
    p.log("server", await done);
    const got = [];
    s.on("n", (i) => got.push(i));
    await s.do({ op: "many", event: "n", count: 5000 });
    p.log("client", got.length, got.every((x, i) => x === i));
  }),
  "an ack behind 20,000 events": {
    run: async (p) => {
      const s = await p.connect("/", { transports: ["websocket"] });
      s.on("question", (ack) => ack("answer"));
      const done = s.until("ordered-done");
      const answer = s.do({ op: "wait", event: "question" });
      for (let i = 0; i < 20_000; i++) s.emit("ordered", i, i === 19_999);
      p.log(await answer, await done);
    },
  },
  ...over("many events with attachments", {}, async (p) => {
    const s = await p.connect("/", p.options);
    const got = [];
    const all = new Promise((r) => s.on("message-back", (i, b) => got.push(i === b.readUInt32LE(0)) === 300 && r()));
    for (let i = 0; i < 300; i++) {
      const b = Buffer.alloc(4);
      b.writeUInt32LE(i);
      s.emit("message", i, b);
    }
    await all;
    p.log(got.every(Boolean));
  }),
};
