// Socket.IO packets by socket.io-protocol v5, over a raw WebSocket.
import { text } from "./peer.mjs";

/** A packet whose objects have their keys in order. */
const shape = (m) => (typeof m === "string" ? m.replace(/^(44[^{]*)({.*})$/, (_, head, json) => head + text(JSON.parse(json))) : m);

const PAUSE = "(pause)";

/** Sends what it is given on a fresh session, and logs what comes soon, or until the close. */
const exchange = async (p, what, list, { connect = true } = {}) => {
  const ws = connect ? await p.connected() : await p.ws("EIO=4&transport=websocket");
  if (!connect) await ws.next();
  const heard = [];
  const listen = async (ms) => {
    const until = p.sleep(ms);
    for (;;) {
      const m = await Promise.race([ws.next(), until]);
      if (m === undefined) return;
      heard.push(Buffer.isBuffer(m) ? { $bin: m.toString("base64") } : shape(m));
      if (m.code) return;
    }
  };
  // What no pause parts goes out in one write, so that the server reads it at once, as a client that does not wait has it.
  ws.hold();
  for (const m of list) {
    if (m !== PAUSE) {
      ws.send(m);
      continue;
    }
    ws.flush();
    await listen(200);
    ws.hold();
  }
  ws.flush();
  await listen(400);
  p.log(what, "=>", heard);
  ws.terminate();
};

const cases = (list, { differs, ...options } = {}) => ({
  differs,
  run: async (p) => {
    for (let i = 0; i < list.length; i += 8)
      // eight at a time, in the order of the list
      await Promise.all(
        list.slice(i, i + 8).map(async ([what, ...packets], j) => {
          const own = Object.create(p);
          own.lines = [];
          await exchange(own, `${what} ${JSON.stringify(packets.map((x) => (Buffer.isBuffer(x) ? "<binary>" : x)))}`, packets, options);
          return own.lines;
        }),
      ).then((all) => p.lines.push(...all.flat()));
  },
});

const B = Buffer.from([1, 2, 3]);

export default {
  "CONNECT": cases(
    [
      ["main", "40"],
      ["main with slash", "40/,"],
      ["main with auth", '40{"token":"123"}'],
      ["empty auth", "40{}"],
      ["auth is null", "40null"],
      ["auth is an array", "40[]"],
      ["auth is a string", '40"x"'],
      ["auth is a number", "4012"],
      ["auth with an id", '4012{"a":1}'],
      ["auth is true", "40true"],
      ["auth is bad JSON", "40{"],
      ["custom", "40/custom,"],
      ["custom without comma", "40/custom"],
      ["custom with auth", '40/custom,{"token":"abc"}'],
      ["without slash", "40custom,"],
      ["query in the name", "40/custom?a=b,"],
      ["unknown", "40/random"],
      ["unknown with comma", '40/random,{"a":1}'],
      ["empty name", "40/"],
      ["case", "40/Custom,"],
      ["dynamic by pattern", "40/dyn-101,"],
      ["dynamic by pattern, not", "40/dyn-x,"],
      ["dynamic by function", '40/fn-a,{"pass":"yes"}'],
      ["dynamic by function, not", "40/fn-b,"],
      ["refused by middleware", "40/refuse,"],
      ["refused with data", '40/refuse,{"data":true}'],
      ["let through", '40/refuse,{"ok":true}'],
      ["twice after a refusal", "40/refuse,", PAUSE, '40/refuse,{"ok":true}'],
      ["two namespaces", "40", PAUSE, "40/custom,"],
      ["after an unknown one", "40/random,", PAUSE, "40"],
      ["two at once", "40", "40"],
      ["__proto__", "40/__proto__,"],
    ],
    {
      connect: false,
      differs: {
        "auth is null": "null is taken for none",
        "two at once": "the second is dropped; Node makes two sockets",
      },
    },
  ),
  "before CONNECT": cases(
    [
      ["nonsense", "4abc"],
      ["empty message", "4"],
      ["event", '42["message"]'],
      ["ack", "430[]"],
      ["disconnect", "41"],
      ["binary", B],
      ["event of another namespace", "40", '42/custom,["message"]'],
      ["event behind it", "40", PAUSE, '42["message","early"]'],
      ["event straight behind it", "40", '42["message","early"]'],
      ["connect error", '44{"message":"x"}'],
      ["event after a refusal", "40/refuse,", PAUSE, '42/refuse,["message"]'],
    ],
    {
      connect: false,
      differs: {
        "event straight behind it": "Node closes a client that does not wait for the answer",
        "event after a refusal": "it may have been under way; Node closes the client, with all its namespaces",
      },
    },
  ),
  "CONNECT twice": cases([
    ["same", "40"],
    ["same with auth", '40{"a":1}'],
    ["after DISCONNECT", "41", PAUSE, "40"],
    ["straight after DISCONNECT", "41", "40"],
    ["other", "40/custom,"],
  ], { differs: { "straight after DISCONNECT": "Node closes the client, because it handles the DISCONNECT later" } }),
  "EVENT": cases([
    ["plain", '42["message",1]'],
    ["no arguments", '42["message"]'],
    ["slash", '42/,["message",1]'],
    ["no payload", "42"],
    ["empty array", "42[]"],
    ["object", "42{}"],
    ["string", '42"message"'],
    ["number", "421"],
    ["null", "42null"],
    ["bad JSON", '42["message"'],
    ["junk behind", '42["message"]x'],
    ["space", '42 ["message",1]'],
    ["space behind", '42["message",1] '],
    ["single quotes", "42['message']"],
    ["name is null", "42[null]"],
    ["name is true", "42[true]"],
    ["name is an array", "42[[]]"],
    ["name is an object", "42[{}]"],
    ["name is a number", "42[1,2]"],
    ["name is empty", '42["",2]'],
    ["reserved connect", '42["connect"]'],
    ["reserved connect_error", '42["connect_error"]'],
    ["reserved disconnect", '42["disconnect"]'],
    ["reserved disconnecting", '42["disconnecting"]'],
    ["reserved newListener", '42["newListener"]'],
    ["reserved removeListener", '42["removeListener"]'],
    ["__proto__", '42["__proto__"]', '42["message",1]'],
    ["nobody listens", '42["unknown"]', '42["message",1]'],
    ["duplicate keys", '42["message",{"a":1,"a":2}]'],
    ["large numbers", '42["message",12345678901234567890,1e400,-0,1.0,1e21,1e-7,123456789012345680000]'],
    ["fractions", '42["message",0.1,1.5e300,5e-324,100,1E3]'],
    ["lone surrogate", '42["message","\\ud800"]'],
    ["escapes", '42["message","\\u0000\\u001f\\n\\t\\"\\\\\\/\\u007f\\u2028\\u20ac"]'],
    ["proto key", '42["message",{"__proto__":{"a":1},"b":2}]'],
    ["empty key", '42["message",{"":1}]'],
    ["deep", `42["message",${"[".repeat(100)}${"]".repeat(100)}]`],
    ["unknown namespace", '42/random,["message"]'],
    ["type 7", "47"],
    ["type 9", '49["message"]'],
    ["only a dash", "45-"],
  ], {
    differs: {
      "no payload": "the document: it is mandatory, without it the connection must be closed. Node ignores the packet",
      "number": "as without payload: it is an id",
      "space [": "Node takes the space for the id 0",
      "large numbers": "1e400 is no number in Go",
      "lone surrogate": "Go's strings are UTF-8: it becomes U+FFFD",
    },
  }),
  "ACK": cases([
    ["id", '4212["message-with-ack",1,"2"]'],
    ["id 0", '420["message-with-ack"]'],
    ["leading zeros", '42007["message-with-ack"]'],
    ["2^53 - 1", '429007199254740991["message-with-ack"]'],
    ["id too large", '4299999999999999999999["message-with-ack"]', '42["message",1]'],
    ["negative", '42-1["message-with-ack"]'],
    ["twice", '425["twice"]'],
    ["of nobody", '43999["x"]', '42["message",1]'],
    ["without id", '43["x"]', '42["message",1]'],
    ["without payload", "431", '42["message",1]'],
    ["bad payload", "431{}"],
    ["empty payload", "431[]", '42["message",1]'],
    ["binary ack of nobody", '461-7[{"_placeholder":true,"num":0}]', B, '42["message",1]'],
    ["nobody listens", '4212["unknown"]', '42["message",1]'],
  ], { differs: { "id too large": "Node answers with another id" } }),
  "BINARY_EVENT": cases([
    ["one", '451-["message",{"_placeholder":true,"num":0}]', B],
    ["two, swapped", '452-["message",{"_placeholder":true,"num":1},{"_placeholder":true,"num":0}]', B, Buffer.from([9])],
    ["same twice", '451-["message",{"_placeholder":true,"num":0},{"_placeholder":true,"num":0}]', B],
    ["deep", '451-["message",{"a":[{"b":{"_placeholder":true,"num":0}}]}]', B],
    ["with id", '451-12["message-with-ack",{"_placeholder":true,"num":0}]', B],
    ["none", '450-["message",1]'],
    ["none and a placeholder", '450-["message",{"_placeholder":true,"num":0}]'],
    ["without count", '45["message",{"_placeholder":true,"num":0}]', B],
    ["count is no number", '45x-["message"]'],
    ["count is empty", '45-["message"]'],
    ["count without dash", '451["message",{"_placeholder":true,"num":0}]', B],
    ["too many attachments", '4511-["message"]'],
    ["ten attachments", '4510-["message"]', ...Array(10).fill(B)],
    ["number out of range", '451-["message",{"_placeholder":true,"num":1}]', B],
    ["number negative", '451-["message",{"_placeholder":true,"num":-1}]', B],
    ["number is a fraction", '451-["message",{"_placeholder":true,"num":0.5}]', B],
    ["number is a string", '451-["message",{"_placeholder":true,"num":"0"}]', B],
    ["number is missing", '451-["message",{"_placeholder":true}]', B],
    ["placeholder is 1", '451-["message",{"_placeholder":1,"num":0}]', B],
    ["placeholder is false", '451-["message",{"_placeholder":false,"num":0}]', B],
    ["attachment not used", '451-["message",1]', B],
    ["text in between", '451-["message",{"_placeholder":true,"num":0}]', '42["message",1]', B],
    ["another header in between", '451-["message",{"_placeholder":true,"num":0}]', '451-["message",{"_placeholder":true,"num":0}]', B],
    ["one attachment too many", '451-["message",{"_placeholder":true,"num":0}]', B, B],
    ["ping in between", '451-["message",{"_placeholder":true,"num":0}]', "3", B],
    ["binary without packet", B],
    ["placeholder in a plain event", '42["message",{"_placeholder":true,"num":0}]'],
    ["reserved name", '451-["disconnect",{"_placeholder":true,"num":0}]', B],
    ["bad JSON", '451-["message"', B],
    ["another namespace", "40/custom,", PAUSE, '451-/custom,["message",{"_placeholder":true,"num":0}]', B],
    ["name is binary", '451-[{"_placeholder":true,"num":0}]', B],
  ], { differs: { "number is a fraction": "Node hands over undefined" } }),
  "DISCONNECT": cases([
    ["main", "41", PAUSE, '42["message"]'],
    ["with slash", "41/,"],
    ["with payload", "41{}"],
    ["custom only", "40/custom,", PAUSE, "41/custom,", '42["message","main"]'],
    ["custom without comma", "40/custom", PAUSE, "41/custom", '42["message","main"]'],
    ["event behind it", "40/custom,", PAUSE, "41/custom,", PAUSE, '42/custom,["message"]'],
    ["unknown namespace", "41/random,", '42["message",1]'],
    ["and again", "40/custom,", PAUSE, "41/custom,", PAUSE, "40/custom,", PAUSE, '42/custom,["message",2]'],
    ["twice", "40/custom,", PAUSE, "41/custom,", PAUSE, "41/custom,", '42["message",1]'],
  ], {
    differs: {
      "main": "events that were under way are dropped; Node closes the client, with all its namespaces",
      "event behind it": "the same",
      "twice": "the same",
    },
  }),
  "no CONNECT in time": {
    options: { connectTimeout: 150 },
    run: async (p) => {
      const ws = await p.ws("EIO=4&transport=websocket");
      await ws.end();
      const s = await p.session();
      await p.poll(s);
      const refused = await p.ws("EIO=4&transport=websocket");
      await refused.next();
      refused.send("40/refuse,");
      await refused.end("refused");
      const left = await p.connected();
      left.send("41");
      const heard = await Promise.race([left.next(), p.sleep(500)]);
      p.log("left", heard);
    },
  },
  "errors of packets reach the sockets": {
    run: async (p) => {
      const ws = await p.connected();
      ws.send("40/custom,");
      await ws.show(2);
      ws.send('42["message"');
      await ws.end();
      await p.serverLog(7, { sorted: true });
    },
  },
};
