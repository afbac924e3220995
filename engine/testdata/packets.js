// Writes packets.json: packets as socket.io-parser 4.2 encodes them. Run with the package installed:
//   node packets.js > packets.json
const { Encoder, PacketType: T } = require("socket.io-parser");
const bin = (...b) => Buffer.from(b);
const packets = [
  ["connect", { type: T.CONNECT, nsp: "/", data: { sid: "abc" } }],
  ["connect with auth in a namespace", { type: T.CONNECT, nsp: "/admin", data: { token: "123" } }],
  ["disconnect", { type: T.DISCONNECT, nsp: "/admin" }],
  ["disconnect main", { type: T.DISCONNECT, nsp: "/" }],
  ["event", { type: T.EVENT, nsp: "/", data: ["foo", 1, "bar", null, true, 1.5, -0.25] }],
  ["event with id", { type: T.EVENT, nsp: "/", id: 12, data: ["foo"] }],
  ["event in a namespace", { type: T.EVENT, nsp: "/admin", id: 456, data: ["project:delete", 123] }],
  ["unicode and markup", { type: T.EVENT, nsp: "/", data: ["é😀", "<a href='x'>&amp;</a>", "\u0000\n\t\"\\/"] }],
  ["nested", { type: T.EVENT, nsp: "/", data: ["a", { b: [{ c: {} }, []] }] }],
  ["ack", { type: T.ACK, nsp: "/", id: 0, data: [] }],
  ["ack with data", { type: T.ACK, nsp: "/admin", id: 456, data: [{ ok: true }] }],
  ["connect error", { type: T.CONNECT_ERROR, nsp: "/", data: { message: "Not authorized" } }],
  ["binary event", { type: T.EVENT, nsp: "/", data: ["hello", bin(1, 2, 3)] }],
  ["binary event in a namespace", { type: T.EVENT, nsp: "/admin", id: 456, data: ["a", bin(3, 2, 1), { x: [bin(255, 0)] }] }],
  ["binary ack", { type: T.ACK, nsp: "/admin", id: 456, data: [bin(3, 2, 1)] }],
  ["empty attachment", { type: T.EVENT, nsp: "/", data: ["a", bin()] }],
];
const restore = (v) =>
  Buffer.isBuffer(v) ? { $bin: v.toString("base64") }
    : Array.isArray(v) ? v.map(restore)
    : v && typeof v === "object" ? Object.fromEntries(Object.entries(v).map(([k, x]) => [k, restore(x)]))
    : v;
const out = packets.map(([name, p]) => {
  const data = p.data === undefined ? undefined : restore(p.data);
  const frames = new Encoder().encode(p).map((f) => (typeof f === "string" ? { text: f } : { binary: f.toString("base64") }));
  return { name, type: p.type, nsp: p.nsp, id: p.id, data, frames };
});
console.log(JSON.stringify(out, null, 1));
