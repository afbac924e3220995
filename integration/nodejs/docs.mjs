// What the programs of docs/reference/protocol.md take for granted, and what TestDocsProtocol does with them.
import assert from "node:assert/strict";

globalThis.fetchToken = async () => process.env.TOKEN;
globalThis.showLogin = (reason) => { throw new Error(`refused: ${reason}`); };

const guild = "607637793107345431";
const user = "214037134477230080";
const heard = []; // { name, body }
let socket;

// begin returns once the first program, which made s, spectates.
export async function begin(s) {
  socket = s;
  socket.onAny((name, body) => heard.push({ name, body }));
  await until("the guild to be spectated", () => heard.some((h) => h.name === "spectate_return"));
  // What fails is shown too.
  globalThis.showLogin = () => {};
  socket.emit("request_elevation", { token: "x", _id: 1 });
  socket.emit("spectate", { guild_id: "1", token: process.env.TOKEN, _id: 7 });
}

// shows waits for an event that looks like the example of a page.
export async function shows(where, name, example) {
  if (name === "spectate_return" && example.recovered) await comeBack();
  await until(`${where}: an event ${name} like ${JSON.stringify(example)}`, () => heard.some((h) => h.name === name && alike(example, h.body)));
  if (name === "spectate_return" && example.recovered) await forget();
}

// comeBack spectates from where the latest answer with a position stands.
async function comeBack() {
  const stands = () => heard.findLast((h) => h.name === "spectate_return" && h.body.position);
  await until("an answer with a position", stands);
  const since = stands().body.position;
  socket.emit("spectate", { guild_id: guild, include_logs: true, since, token: process.env.TOKEN });
}

// forget spectates without positions again, as the rest of the page does.
async function forget() {
  const answers = () => heard.filter((h) => h.name === "spectate_return").length;
  const before = answers();
  socket.emit("spectate", { guild_id: guild, include_logs: true, token: process.env.TOKEN });
  await until("the last answer", () => answers() > before);
}

// alike compares names and types, not values. Ids as names stand for each other; the one element of an example's list
// may have fewer fields than those that come.
function alike(example, got, fewer = false) {
  if (example === null || typeof example !== "object") {
    return typeof example === "boolean" ? example === got : typeof example === typeof got && (example === null) === (got === null);
  }
  if (Array.isArray(example)) {
    return Array.isArray(got) && got.length >= example.length && example.every((e, i) => alike(e, got[i], true));
  }
  const names = (o) => [...new Set(Object.keys(o).map((k) => (/^\d+$/.test(k) ? "id" : k)))].sort().join();
  if (got === null || typeof got !== "object" || (!fewer && names(example) !== names(got))) return false;
  return Object.keys(example).every((k) => /^\d+$/.test(k) || alike(example[k], got[k]));
}

// end tries the page's pool().
export async function end(pool) {
  const { data, users, nonexistent } = await pool({ type: "member", guild_id: guild, ids: [user, "99"] });
  assert.deepEqual([data.map((m) => m.id), users.map((u) => u.id), nonexistent], [[user], [user], ["99"]]);
  await assert.rejects(pool({ type: "settingValue", guild_id: "x" }), (e) => e.code === 400);
  const lost = pool({ type: "member", guild_id: guild });
  socket.disconnect();
  await assert.rejects(lost, /disconnected/);
  await assert.rejects(pool({ type: "guild" }), /not connected/);
  console.log("all of it");
}

async function until(what, condition) {
  for (const late = Date.now() + 40_000; !condition(); ) {
    if (Date.now() > late) {
      console.error(`waited for ${what}; heard`, JSON.stringify(heard.filter((h) => !h.name.startsWith("log_")), null, 1));
      process.exit(1);
    }
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
}
