// Runs @socket.io/redis-emitter 5 and prints, for each call, what it would publish, a JSON object a line:
//   {channel, payload: base64}
// in: lines {nsp, rooms, except, flags: [[name, value]], op, args}; {"$bin": base64} in args becomes a Buffer.
import { createInterface } from "node:readline";
import { Emitter } from "@socket.io/redis-emitter";

const out = (o) => process.stdout.write(JSON.stringify(o) + "\n");
const emitter = new Emitter(
  { publish: (channel, payload) => out({ channel, payload: Buffer.from(payload).toString("base64") }) },
  process.env.KEY ? { key: process.env.KEY } : undefined,
);
const decode = (_, v) => (v && typeof v.$bin === "string" ? Buffer.from(v.$bin, "base64") : v);

for await (const line of createInterface({ input: process.stdin })) {
  const { nsp, rooms = [], except = [], flags = [], op, args = [] } = JSON.parse(line, decode);
  let e = nsp === undefined ? emitter : emitter.of(nsp);
  for (const r of rooms) e = e.to(r);
  for (const r of except) e = e.except(r);
  for (const [name, value] of flags) e = name === "volatile" ? e.volatile : e.compress(value);
  e[op](...args);
}
