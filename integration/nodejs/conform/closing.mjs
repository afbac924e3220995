// Every reason of a disconnect, as both sides see it; connection state recovery.

const ways = { websocket: ["websocket"], polling: ["polling"] };
const both = (name, options, run) =>
  Object.fromEntries(Object.entries(ways).map(([t, transports]) => [`${name} over ${t}`, { options, run: (p) => run(p, { transports }) }]));

const left = async (p, s, lines = 3, sorted = false) => {
  const [reason] = await s.until("disconnect");
  p.log("client", reason);
  await p.serverLog(lines, { sessions: true, sorted });
};

/** Breaks the connection of a client as a network would. */
const cut = async (s) => {
  const gone = s.until("disconnect");
  s.io.engine.close();
  await gone;
};

const recovery = { connectionStateRecovery: { maxDisconnectionDuration: 20_000 } };

export default {
  ...both("client namespace disconnect", {}, async (p, o) => {
    const s = await p.connect("/", o);
    const l = left(p, s);
    s.disconnect();
    await l;
  }),
  ...both("server namespace disconnect", {}, async (p, o) => {
    const s = await p.connect("/", o);
    const heard = [];
    s.onAny((event) => heard.push(event));
    const l = left(p, s);
    s.emit("do", [{ op: "emit", event: "before" }, { op: "disconnect" }, { op: "emit", event: "after" }]);
    await l;
    p.log(heard, s.io.engine.readyState);
  }),
  ...both("Disconnect(true) after emits", {}, async (p, o) => {
    const s = await p.connect("/", o);
    let n = 0;
    s.on("n", () => n++);
    const l = left(p, s);
    s.emit("do", [{ op: "many", event: "n", count: 1000 }, { op: "disconnect", close: true }]);
    await l;
    p.log(n);
  }),
  ...both("transport close", {}, async (p, o) => {
    const s = await p.connect("/", o);
    const l = left(p, s);
    s.io.engine.close();
    await l;
  }),
  ...both("forced close", {}, async (p, o) => {
    const s = await p.connect("/", o);
    const l = left(p, s);
    s.emit("do", [{ op: "conn" }]);
    await l;
  }),
  ...both("parse error", {}, async (p, o) => {
    const s = await p.connect("/", o);
    const l = left(p, s, 4);
    s.io.engine.write('2["bad');
    await l;
  }),
  ...both("server shutting down", {}, async (p, o) => {
    const s = await p.connect("/", o);
    const other = s.io.socket("/custom");
    await new Promise((r) => other.once("auth", r));
    const l = left(p, s, 6, true);
    await p.closeServer();
    await l;
  }),
  "no requests after close": {
    run: async (p) => {
      await p.closeServer();
      const res = await p.http("GET", "EIO=4&transport=polling").catch((e) => ({ status: e.code }));
      p.log(res.status === 200 ? "served" : "refused");
    },
  },
  "ping timeout of a client that is silent": {
    options: { pingInterval: 150, pingTimeout: 150 },
    run: async (p) => {
      const ws = await p.connected();
      ws._socket.pause();
      await p.serverLog(3);
    },
  },
  "ping timeout that the client notices": {
    options: { pingInterval: 60_000, pingTimeout: 100 },
    run: async (p) => {
      const s = p.client("/", { transports: ["websocket"] });
      await s.until("connect");
      s.io.engine._pingInterval = s.io.engine.pingInterval = 50;
      s.io.engine._resetPingTimeout?.();
      await left(p, s);
    },
  },
  "transport error of the server": {
    differs: { "server: connection_error": "it is told of every request that is refused" },
    run: async (p) => {
      const s = await p.session();
      await p.post(s, "40");
      await p.poll(s);
      const first = p.http("GET", s).catch(() => {});
      await p.sleep(50);
      await p.http("GET", s);
      await first;
      await p.serverLog(3);
    },
  },
  "handlers see rooms while disconnecting": {
    run: async (p) => {
      const s = await p.connect("/", { transports: ["websocket"] });
      await s.do({ op: "join", rooms: ["a", "b"] });
      s.disconnect();
      await p.serverLog(3);
    },
  },
  "emits after the client has left": {
    run: async (p) => {
      const a = await p.connect("/", { transports: ["websocket"] });
      const b = await p.connect("/", { transports: ["websocket"] });
      await a.do({ op: "join", rooms: ["x"] });
      a.disconnect();
      await p.serverLog(4);
      p.log(await b.do({ op: "send", event: "x", to: ["x"] }, { op: "fetch" }));
    },
  },
  "reconnects after the server closed its transport": {
    run: async (p) => {
      const s = await p.connect("/", { transports: ["websocket"], reconnection: true, reconnectionDelay: 10 });
      const first = s.id;
      const again = new Promise((r) => s.io.once("reconnect", r));
      s.emit("do", [{ op: "conn" }]);
      await again;
      await s.until("auth");
      p.log("new id", s.id !== first, "recovered", s.recovered);
      await p.serverLog(4);
    },
  },
  "offset only with recovery": {
    run: async (p) => {
      const ws = await p.connected();
      ws.send('42["do",[{"op":"send","event":"x","args":[1]},{"op":"emit","event":"y"}]]');
      await ws.show(2);
    },
  },
  "offset with recovery": {
    options: recovery,
    run: async (p) => {
      const ws = await p.ws("EIO=4&transport=websocket");
      await ws.next();
      ws.send("40");
      const open = await ws.next();
      p.log(Object.keys(JSON.parse(open.slice(2))).sort());
      await ws.next();
      const shape = (m) => m.replace(/^42\d/, "42<id>").replace(/"[^"]{7,}"\]$/, '"<offset>"]');
      ws.send('42["do",[{"op":"send","event":"x","args":[1]},{"op":"emit","event":"y"}]]');
      for (let i = 0; i < 2; i++) p.log(shape(await ws.next()));
      await p.sleep(50);
      ws.send('42["do",[{"op":"send","event":"v","volatile":true}]]');
      p.log("volatile", shape(await ws.next()));
      ws.send('42["do",[{"op":"call","event":"q"}]]');
      p.log(shape(await ws.next()));
      ws.send('42["do",[{"op":"send","event":"b","args":[[1]]}]]');
      p.log(shape(await ws.next()));
    },
  },
  ...both("recovery", recovery, async (p, o) => {
    const watcher = await p.connect("/", { transports: ["websocket"] });
    const s = await p.connect("/", { ...o, reconnection: true, reconnectionDelay: 300, randomizationFactor: 0 });
    await s.do({ op: "join", rooms: ["a"] }, { op: "data", set: { kept: [1] } });
    const id = s.id;
    const heard = [];
    const first = s.until("before");
    await watcher.do({ op: "send", event: "before", to: ["a"] });
    await first;
    s.onAny((event, ...args) => heard.push([event, ...args]));
    await cut(s);
    await p.serverLog(4);
    await watcher.do(
      { op: "send", event: "missed", to: ["a"], args: [1, { b: 2 }] },
      { op: "send", event: "other room", to: ["b"] },
      { op: "send", event: "all", args: [2] },
      { op: "send", event: "volatile", volatile: true },
      { op: "send", event: "except", except: ["a"] },
    );
    await s.until("connect");
    await watcher.do({ op: "send", event: "live", to: ["a"] });
    await s.do({ op: "emit", event: "last" });
    p.log("same id", s.id === id, "recovered", s.recovered);
    p.log(heard.map(([e, ...args]) => [e, ...args.filter((a) => e !== "auth" && typeof a !== "string")]));
    p.log(await s.do({ op: "rooms" }), await s.do({ op: "fetch", to: ["a"] }));
    await p.serverLog(5);
  }),
  "recovery is refused to a client that left": {
    options: recovery,
    run: async (p) => {
      const s = await p.connect("/", { transports: ["websocket"] });
      const id = s.id;
      s.disconnect();
      s.connect();
      await s.until("connect");
      p.log(s.id === id, s.recovered);
    },
  },
  "recovery is refused to a client that the server disconnected": {
    options: recovery,
    run: async (p) => {
      const s = await p.connect("/", { transports: ["websocket"] });
      const id = s.id;
      s.emit("do", [{ op: "disconnect" }]);
      await s.until("disconnect");
      s.connect();
      await s.until("connect");
      p.log(s.id === id, s.recovered);
    },
  },
  "recovery expires": {
    options: { connectionStateRecovery: { maxDisconnectionDuration: 100 } },
    run: async (p) => {
      const s = await p.connect("/", { transports: ["websocket"] });
      await s.do({ op: "join", rooms: ["a"] });
      const id = s.id;
      await cut(s);
      await p.sleep(400);
      s.connect();
      await s.until("connect");
      p.log(s.id === id, s.recovered, await s.do({ op: "rooms" }));
    },
  },
  "recovery with a foreign offset": {
    options: recovery,
    run: async (p) => {
      for (const auth of ['{"pid":"x","offset":"y"}', '{"pid":1,"offset":2}', '{"pid":"x"}', '{"pid":"","offset":""}']) {
        const ws = await p.ws("EIO=4&transport=websocket");
        await ws.next();
        ws.send(`40${auth}`);
        p.log(Object.keys(JSON.parse((await ws.next()).slice(2))).sort());
        const [event, given] = JSON.parse((await ws.next()).slice(2));
        p.log(event, given);
      }
    },
  },
};
