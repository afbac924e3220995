// HTTP long-polling: engine.io-protocol v4, "Sending and receiving data", "Heartbeat", "Upgrade", "Packet encoding".
import { request } from "node:http";

const big = (n) => "x".repeat(n);

export default {
  "polling messages": {
    run: async (p) => {
      const s = await p.session();
      await p.ask("post", "POST", s, { body: "40", headers: { "content-type": "text/plain;charset=UTF-8" } });
      await p.ask("poll", "GET", s);
      await p.post(s, '42["message",1,"2",{"3":[true]}]');
      await p.poll(s);
      await p.post(s, '42["message","a"]\x1e42["message","b"]\x1e42["message","c"]');
      await p.poll(s);
      await p.post(s, '42["message","€ ü 😀 \u2028"]');
      await p.poll(s);
      await p.post(s, '451-["message",{"_placeholder":true,"num":0}]\x1ebAQIDBA==');
      await p.poll(s);
      await p.post(s, '4212["message-with-ack",1]');
      await p.poll(s);
    },
  },
  "polling without content type": {
    run: async (p) => {
      const s = await p.session();
      p.log((await p.http("POST", s, { body: "40" })).status);
      await p.poll(s);
    },
  },
  "polling bad payloads": {
    differs: { '"b!!!!"': "it is no base64; Node takes what it can" },
    run: async (p) => {
      for (const body of ["abc", "", "\x1e", "40\x1e", "\x1e40", "4", "b", "bAQIDBA", "b!!!!", "7", "40\x1e9", " 40", "40\n"]) {
        const s = await p.session();
        let status;
        try {
          status = (await p.http("POST", s, { body })).status;
        } catch (err) {
          status = err.code;
        }
        // Node answers 200, and closes the session then.
        const alive = (await p.http("POST", s, { body: "40" })).status === 200;
        p.log(JSON.stringify(body), status === 200 && alive ? "alive" : "closed");
      }
    },
  },
  "packets of the wrong direction": {
    run: async (p) => {
      for (const packet of ["0", "2", "3", "5", "6", "2probe", "3probe"]) {
        const s = await p.session();
        const status = await p.http("POST", s, { body: packet }).then((r) => (r.status === 200 ? 200 : "refused"), () => "refused");
        const alive = (await p.http("POST", s, { body: "40" })).status === 200;
        p.log(packet, status, alive ? "alive" : "closed");
      }
    },
  },
  "polling binary content": {
    run: async (p) => {
      const s = await p.session();
      await p.post(s, "40", { "content-type": "application/octet-stream" }, "octet-stream").catch(() => p.log("aborted"));
      p.log("then", (await p.http("GET", s)).status);
    },
  },
  "polling body limit": {
    options: { maxHttpBufferSize: 1000 },
    run: async (p) => {
      const s = await p.session();
      await p.post(s, "40");
      await p.poll(s);
      await p.post(s, `42["message-with-ack","${big(1000 - 23)}"]`.slice(0, 1000), {}, "exactly").then((r) => r);
      const large = await p.ask("larger", "POST", s, { body: `42["message","${big(2000)}"]` });
      p.log(large.status);
      await p.post(s, '42["message","still here"]', {}, "after it").catch((e) => p.log(e.code));
    },
  },
  "polling body limit, bytes and not characters": {
    options: { maxHttpBufferSize: 100 },
    run: async (p) => {
      const s = await p.session();
      await p.post(s, "40");
      await p.post(s, `42["count","${"€".repeat(40)}"]`);
    },
  },
  "chunked body": {
    options: { maxHttpBufferSize: 1000 },
    run: async (p) => {
      const s = await p.session();
      const send = (chunks) =>
        new Promise((resolve) => {
          const req = request(`${p.url}/socket.io/?${s}`, { method: "POST", agent: false }, (res) => {
            res.resume();
            res.on("end", () => resolve(res.statusCode));
          });
          req.on("error", (e) => resolve(e.code));
          for (const c of chunks) req.write(c);
          req.end();
        });
      p.log("small", await send(["4", "0"]));
      await p.poll(s);
      p.log("large", await send(['42["message","', big(600), big(600), '"]']));
    },
  },
  "polls that overlap": {
    run: async (p) => {
      const s = await p.session();
      const first = p.http("GET", s);
      await p.sleep(50);
      const second = await p.http("GET", `${s}&t=2`);
      p.log("second", second.status);
      const { status, body } = await first;
      p.log("first", status, body);
      p.log("then", (await p.http("GET", s)).status);
    },
  },
  "posts that overlap": {
    run: async (p) => {
      const s = await p.session();
      const req = request(`${p.url}/socket.io/?${s}`, { method: "POST", agent: false, headers: { "content-length": 100 } });
      const gone = new Promise((r) => {
        req.on("error", () => r("gone"));
        req.on("response", (res) => r(res.statusCode >= 400 ? "gone" : res.statusCode));
      });
      req.write("4");
      await p.sleep(50);
      p.log("second", (await p.http("POST", s, { body: "40" })).status);
      p.log("first", await Promise.race([gone, p.sleep(3000).then(() => "still there")]));
      p.log("then", (await p.http("GET", s)).status);
    },
  },
  "a poll that is cancelled": {
    run: async (p) => {
      const s = await p.session();
      await p.post(s, "40");
      await p.poll(s);
      const cancel = new AbortController();
      const poll = p.http("GET", s, { signal: cancel.signal }).catch(() => {});
      await p.sleep(50);
      cancel.abort();
      await poll;
      await p.serverLog(3);
      p.log("then", (await p.http("GET", s)).status);
    },
  },
  "the client closes by POST": {
    run: async (p) => {
      const s = await p.session();
      await p.post(s, "40");
      await p.poll(s);
      const poll = p.http("GET", s);
      await p.sleep(50);
      await p.post(s, "1");
      const { status, body } = await poll;
      p.log("poll", status, body);
      p.log("then", (await p.http("GET", s)).status);
      await p.serverLog(3);
    },
  },
  "packets behind a close": {
    differs: { "server: count 1": "what came before the close is handled; Node drops it" },
    run: async (p) => {
      const s = await p.session();
      await p.post(s, "40");
      await p.poll(s);
      const poll = p.http("GET", s);
      await p.sleep(50);
      await p.post(s, '42["count",1]\x1e1\x1e42["count",2]');
      p.log("poll", (await poll).body);
      await p.serverLog(4);
    },
  },
  "heartbeat over polling": {
    options: { pingInterval: 150, pingTimeout: 2000 },
    run: async (p) => {
      const s = await p.session();
      for (let i = 0; i < 3; i++) {
        await p.poll(s);
        await p.post(s, "3");
      }
    },
  },
  "ping timeout over polling": {
    options: { pingInterval: 150, pingTimeout: 100 },
    run: async (p) => {
      const s = await p.session();
      await p.post(s, "40");
      await p.poll(s);
      await p.poll(s);
      await p.serverLog(3);
      p.log("then", (await p.http("GET", s)).status);
    },
  },
  "other packets do not answer a ping": {
    options: { pingInterval: 150, pingTimeout: 300 },
    run: async (p) => {
      const ws = await p.connected();
      const until = Date.now() + 1500;
      const timer = setInterval(() => ws.readyState === 1 && ws.send('42["nothing"]'), 50);
      await p.serverLog(3);
      clearInterval(timer);
      p.log("closed in time", Date.now() < until);
    },
  },
  "upgrade": {
    run: async (p) => {
      const s = await p.session();
      const ws = await p.ws(s.replace("polling", "websocket"));
      ws.send("2probe");
      await ws.show();
      await p.poll(s, "poll while probed");
      ws.send("5");
      ws.send("40");
      await ws.show(2);
      p.log("poll after it", (await p.http("GET", s)).body);
      p.log("post after it", (await p.http("POST", s, { body: "40" })).body);
      ws.send('42["message","hello"]');
      await ws.show();
      const second = await p.ws(s.replace("polling", "websocket"));
      await second.show(1, "second");
      ws.send('42["message","still there"]');
      await ws.show();
      await p.serverLog(2);
    },
  },
  "upgrade with a poll that waits": {
    run: async (p) => {
      const s = await p.session();
      await p.post(s, "40");
      await p.poll(s);
      const poll = p.http("GET", s);
      await p.sleep(30);
      const ws = await p.ws(s.replace("polling", "websocket"));
      ws.send("2probe");
      await ws.show();
      p.log("poll", (await poll).body);
      await p.post(s, '42["message","while probed"]');
      await p.poll(s, "poll while probed");
      ws.send("5");
      ws.send('42["message","upgraded"]');
      await ws.show();
      ws.close();
      await p.serverLog(3);
    },
  },
  "upgrade refused by a wrong packet": {
    run: async (p) => {
      for (const bad of ["4", "2", "3probe", "2other", "6", "", "junk", Buffer.from([1])]) {
        const s = await p.session();
        await p.post(s, "40");
        await p.poll(s);
        const ws = await p.ws(s.replace("polling", "websocket"));
        ws.send(bad);
        await ws.end(`sent ${String(bad)}`);
        await p.post(s, '42["message","polling goes on"]');
        await p.poll(s);
      }
    },
  },
  "upgrade without probe": {
    run: async (p) => {
      const s = await p.session();
      const ws = await p.ws(s.replace("polling", "websocket"));
      ws.send("5");
      ws.send("40");
      await ws.show(2);
    },
  },
  "upgrade that is not completed": {
    options: { upgradeTimeout: 200 },
    run: async (p) => {
      const s = await p.session();
      await p.post(s, "40");
      await p.poll(s);
      const ws = await p.ws(s.replace("polling", "websocket"));
      ws.send("2probe");
      await ws.end();
      await p.post(s, '42["message","polling goes on"]');
      for (let body = "6"; body === "6"; ) ({ body } = await p.http("GET", s)), body !== "6" && p.log("poll", body);
    },
  },
  "two upgrades at once": {
    run: async (p) => {
      const s = await p.session();
      const one = await p.ws(s.replace("polling", "websocket"));
      one.send("2probe");
      await one.show(1, "one");
      const two = await p.ws(s.replace("polling", "websocket"));
      await two.end("two");
      one.send("5");
      one.send("40");
      await one.show(2, "one");
    },
  },
  "upgrade of a session that is not allowed to": {
    options: { allowUpgrades: false },
    run: async (p) => {
      const s = await p.session();
      await p.post(s, "40");
      await p.poll(s);
      await p.post(s, '42["message","polling"]');
      await p.poll(s);
    },
  },
  "gzip of polling": {
    options: { httpCompression: { threshold: 500 } },
    run: async (p) => {
      const s = await p.session();
      await p.post(s, "40");
      await p.poll(s);
      for (const [encoding, size] of [["gzip", 400], ["gzip", 600], ["gzip, deflate, br", 600], ["gzip;q=0", 600], ["identity", 600], ["br", 600]]) {
        await p.http("POST", s, { body: `42["message","${big(size)}"]` });
        const res = await p.http("GET", s, { headers: { "accept-encoding": encoding } });
        p.log(encoding, size, res.headers["content-encoding"]);
      }
    },
  },
  "server closes a polling session": {
    differs: { "second poll": "the close comes alone; Node puts a noop before it" },
    run: async (p) => {
      const s = await p.session();
      await p.post(s, "40");
      await p.poll(s);
      await p.post(s, '42["do",[{"op":"emit","event":"a"},{"op":"emit","event":"b"},{"op":"disconnect","close":true}]]');
      for (let i = 0; i < 3; i++) {
        const res = await p.http("GET", s);
        p.log(["first", "second", "third"][i], "poll", res.status, res.status < 400 ? res.body : "");
        if (res.status !== 200) break;
      }
      await p.serverLog(3);
    },
  },
  "server disconnects a waiting polling session": {
    run: async (p) => {
      const s = await p.session();
      await p.post(s, "40");
      await p.poll(s);
      const poll = p.http("GET", s);
      await p.sleep(30);
      await p.post(s, '42["do",[{"op":"disconnect","close":true}]]');
      p.log("poll", (await poll).body);
      await p.serverLog(3);
    },
  },
};
