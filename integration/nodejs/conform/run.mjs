// Runs scenarios, driven over stdin and stdout, a JSON object a line:
//   out: {type: "scenarios", scenarios: [{name, options, differs}]}    first
//        differs: why lines that begin so are not the same, where the engine is meant to differ
//   in:  {id, name, target: {port, admin, tls}, patience}     out: {id, lines} of the transcript
import { createInterface } from "node:readline";
import { Peer } from "./peer.mjs";

const modules = await Promise.all(
  ["handshake", "polling", "websocket", "packets", "sockets", "closing", "revision3"].map((m) => import(`./${m}.mjs`)),
);
const scenarios = new Map(modules.flatMap((m) => Object.entries(m.default)));
const out = (o) => process.stdout.write(JSON.stringify(o) + "\n");

const run = async ({ id, name, target, patience }) => {
  const peer = new Peer(target, patience);
  const limit = new Promise((_, reject) => setTimeout(() => reject(new Error("the scenario takes too long")), 12_000 * patience).unref());
  try {
    await Promise.race([scenarios.get(name).run(peer), limit]);
  } catch (err) {
    peer.log(`FAILED ${err.message}`);
    console.error(name, err.stack);
  }
  out({ id, lines: peer.lines });
  peer.end();
};

process.on("uncaughtException", (err) => console.error(err));
createInterface({ input: process.stdin })
  .on("line", (line) => run(JSON.parse(line)))
  .on("close", () => process.exit(0));
out({ type: "scenarios", scenarios: [...scenarios].map(([name, { options = {}, differs = {} }]) => ({ name, options, differs })) });
