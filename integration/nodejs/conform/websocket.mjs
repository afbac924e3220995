// The WebSocket transport: frames by RFC 6455 as a client of ws sees them, close codes, limits, compression.
import { randomBytes } from "node:crypto";

/** A masked frame, with whatever first byte. */
const frame = (first, data, { masked = true, declared } = {}) => {
  const payload = Buffer.from(data);
  const n = declared ?? payload.length;
  const head = n < 126 ? [first, n] : n < 65536 ? [first, 126, n >> 8, n & 255] : [first, 127, 0, 0, 0, 0, (n >>> 24) & 255, (n >> 16) & 255, (n >> 8) & 255, n & 255];
  if (!masked) return Buffer.concat([Buffer.from(head), payload]);
  head[1] |= 0x80;
  const mask = randomBytes(4);
  return Buffer.concat([Buffer.from(head), mask, payload.map((b, i) => b ^ mask[i % 4])]);
};

/** A WebSocket whose TCP connection is written to directly. */
const tap = async (p) => {
  const ws = await p.connected();
  ws.write = (...frames) => ws._socket.write(Buffer.concat(frames));
  return ws;
};

const huge = (n) => JSON.stringify(["message", "x".repeat(n)]);

export default {
  "websocket messages": {
    run: async (p) => {
      const ws = await p.connected();
      ws.send('42["message",1,"2",{"3":[true]}]');
      await ws.show();
      ws.send('42["message","€ ü 😀 \u2028 <&>"]');
      await ws.show();
      ws.send('452-["message",{"_placeholder":true,"num":0},{"_placeholder":true,"num":1}]');
      ws.send(Buffer.from([1, 2, 3]));
      ws.send(Buffer.alloc(0));
      await ws.show(3);
      ws.send('42456["message-with-ack",1,"2",{"3":[false]}]');
      await ws.show();
      ws.send('452-789["message-with-ack",{"_placeholder":true,"num":0},{"_placeholder":true,"num":1}]');
      ws.send(Buffer.from([1, 2, 3]));
      ws.send(Buffer.from([4, 5, 6]));
      await ws.show(3);
    },
  },
  "fragments and control frames": {
    run: async (p) => {
      const ws = await tap(p);
      ws.on("pong", (data) => p.log("pong", data.toString()));
      ws.write(frame(0x01, "42["), frame(0x89, "ping in between"), frame(0x00, '"message"'), frame(0x80, ",1]"));
      await ws.show();
      ws.write(frame(0x8a, "a pong that nobody asked for"));
      ws.write(frame(0x81, '42["message","fine"]'));
      await ws.show();
      ws.write(frame(0x01, ""), frame(0x00, ""), frame(0x80, '42["message","empty frames"]'));
      await ws.show();
    },
  },
  ...Object.fromEntries(
    Object.entries({
      "unmasked": [frame(0x81, "42", { masked: false })],
      "reserved bit": [frame(0xc1, "42")],
      "reserved opcode": [frame(0x83, "42")],
      "reserved control opcode": [frame(0x8b, "")],
      "continuation of nothing": [frame(0x80, "42")],
      "new message inside another": [frame(0x01, "42"), frame(0x81, "42")],
      "fragmented control frame": [frame(0x09, "x")],
      "long control frame": [frame(0x89, "x".repeat(126))],
      "invalid UTF-8": [frame(0x81, Buffer.from([0x34, 0x32, 0xff]))],
      "close with one byte": [frame(0x88, "x")],
      "close with a reserved code": [frame(0x88, Buffer.from([0x03, 0xed]))],
      "close with invalid UTF-8": [frame(0x88, Buffer.from([0x03, 0xe8, 0xff]))],
      "close without code": [frame(0x88, "")],
      "close 1000": [frame(0x88, Buffer.from([0x03, 0xe8]))],
      "close 1001 going away": [frame(0x88, Buffer.from([0x03, 0xe9, 0x62, 0x79, 0x65]))],
      "close 4321": [frame(0x88, Buffer.from([0x10, 0xe1]))],
      "huge length": [Buffer.from([0x81, 0xff, 0, 0, 1, 0, 0, 0, 0, 1, 0, 0, 0, 0])],
    }).map(([name, frames]) => [
      `websocket frame: ${name}`,
      {
        run: async (p) => {
          const ws = await tap(p);
          ws.on("error", (err) => p.log("client error", err.message));
          ws.write(...frames);
          await ws.end();
          await p.serverLog(3);
        },
      },
    ]),
  ),
  "websocket message limit": {
    options: { maxHttpBufferSize: 1000 },
    run: async (p) => {
      let ws = await p.connected();
      ws.send(`42${huge(1000 - 16)}`);
      await ws.show();
      ws.send(`42${huge(1000 - 15)}`);
      await ws.end("one byte more");
      ws = await tap(p);
      ws.write(frame(0x01, "4" + "x".repeat(600)), frame(0x80, "x".repeat(600)));
      await ws.end("in fragments");
      ws = await tap(p);
      ws.write(frame(0x82, Buffer.alloc(0), { declared: 5_000_000 }));
      await ws.end("only announced");
      await p.serverLog(9);
    },
  },
  "invalid Engine.IO packets": {
    differs: {
      '"1"': "a close packet closes; Node ignores it",
      "server: disconnect / transport close": "so",
      "server: disconnecting / transport close": "so",
    },
    run: async (p) => {
      for (const bad of ["abc", "", "7", "9x", "2", "0", "5", "6", "3", "1", "2probe"]) {
        const ws = await p.connected();
        ws.send(bad);
        const heard = await Promise.race([ws.next(), p.sleep(300).then(() => "nothing")]);
        p.log(JSON.stringify(bad), heard);
      }
      await p.serverLog(23, { sorted: true });
    },
  },
  "heartbeat over websocket": {
    options: { pingInterval: 100, pingTimeout: 2000 },
    run: async (p) => {
      const ws = await p.ws("EIO=4&transport=websocket");
      await ws.next();
      for (let i = 0; i < 3; i++) {
        p.log(await ws.next());
        ws.send("3");
      }
      ws.send("3");
      ws.send("3with data");
      p.log("more pongs than pings", await ws.next());
    },
  },
  "ping timeout over websocket": {
    options: { pingInterval: 100, pingTimeout: 100 },
    run: async (p) => {
      const ws = await p.connected();
      p.log(await ws.next());
      p.log(await ws.next());
      await p.serverLog(3);
    },
  },
  "permessage-deflate": {
    differs: { 'offer {"serverMaxWindowBits":10}': "declined: a smaller window is not possible here; no browser asks for it" },
    options: { perMessageDeflate: { threshold: 100 } },
    run: async (p) => {
      for (const offer of [true, { serverNoContextTakeover: true }, { clientNoContextTakeover: true }, { serverMaxWindowBits: 10 }, { clientMaxWindowBits: 10 }]) {
        const ws = await p.ws("EIO=4&transport=websocket", { perMessageDeflate: offer });
        p.log("offer", offer, "agreed", ws.extensions ? "yes" : "no");
        await ws.next();
        ws.send("40");
        await ws.show(2);
        for (const n of [10, 5000]) {
          ws.send(`42${huge(n)}`);
          p.log((await ws.next()).length);
        }
      }
      const ws = await p.ws("EIO=4&transport=websocket");
      p.log("no offer", ws.extensions);
    },
  },
  "permessage-deflate of frames": {
    options: { perMessageDeflate: { threshold: 100 } },
    run: async (p) => {
      const ws = await p.ws("EIO=4&transport=websocket", { perMessageDeflate: { threshold: 0 } });
      const compressed = [];
      ws._receiver.on("drain", () => {});
      ws._socket.prependListener("data", (b) => compressed.push(!!(b[0] & 0x40)));
      await ws.next();
      ws.send("40");
      await ws.next();
      for (const n of [10, 5000]) {
        await p.sleep(30);
        compressed.length = 0;
        ws.send(`42${huge(n)}`);
        await ws.next();
        p.log(n, compressed[0]);
      }
    },
  },
  "permessage-deflate bomb": {
    options: { perMessageDeflate: { threshold: 100 }, maxHttpBufferSize: 10000 },
    run: async (p) => {
      const ws = await p.ws("EIO=4&transport=websocket", { perMessageDeflate: { threshold: 0 } });
      await ws.next();
      ws.send(`42["message","${"x".repeat(1_000_000)}"]`);
      await ws.end();
    },
  },
  "permessage-deflate with bad data": {
    options: { perMessageDeflate: { threshold: 100 } },
    run: async (p) => {
      const ws = await p.ws("EIO=4&transport=websocket", { perMessageDeflate: true });
      await ws.next();
      ws._socket.write(frame(0xc1, Buffer.from([0xff, 0xff, 0xff, 0xff])));
      await ws.end();
    },
  },
  "permessage-deflate is off by default": {
    run: async (p) => {
      const ws = await p.ws("EIO=4&transport=websocket", { perMessageDeflate: true });
      p.log(ws.extensions);
    },
  },
  "the client vanishes": {
    run: async (p) => {
      const ws = await p.connected();
      ws.terminate();
      await p.serverLog(3);
    },
  },
};
