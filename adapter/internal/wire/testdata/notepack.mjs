// Writes notepack.json: values and their encoding by notepack.io, for the tests.
//   npm install notepack.io@3.0.1 && node notepack.mjs > notepack.json
import notepack from "notepack.io";

const values = [
  null, true, false, 0, 1, 127, 128, 255, 256, 65535, 65536, 4294967295, 4294967296, 9007199254740991,
  -1, -32, -33, -128, -129, -32768, -32769, -2147483648, -2147483649, -9007199254740991,
  0.5, -1.25, 3.141592653589793, 1e-7,
  "", "a", "x".repeat(31), "x".repeat(32), "x".repeat(255), "x".repeat(256), "x".repeat(65536), "é日😀\u0000",
  [], {}, Array(15).fill(1), Array(16).fill(1), Array(65536).fill(0),
  { a: 1, b: [null, { c: "d" }] }, Object.fromEntries(Array.from({ length: 16 }, (_, i) => [String.fromCharCode(97 + i), i])),
];
const buffers = [0, 1, 255, 256, 65536].map((n) => Buffer.alloc(n, 7));
const lines = [
  ...values.map((v) => ({ json: JSON.stringify(v), msgpack: notepack.encode(v).toString("base64") })),
  ...buffers.map((b) => ({ bytes: b.length, msgpack: notepack.encode(b).toString("base64") })),
];
console.log("[\n" + lines.map((l) => JSON.stringify(l)).join(",\n") + "\n]");
