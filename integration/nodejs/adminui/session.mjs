// What the admin UI's page does, with socket.io-client: it logs in at a guildcast node, and looks at the events of all
// servers. Environment: NODE, PEER (URLs of the node and of a Node.js server), USER, PASSWORD, TOKEN, GUILD, WRITE.
// It exits with 0 if all is there that the page shows, and no secret is in it.
import assert from "node:assert/strict";
import { io } from "socket.io-client";

const { NODE: node, PEER: peer, USER: username, PASSWORD: password, TOKEN: token, GUILD: guild, WRITE: write } = process.env;
const patience = 60_000;

class Client {
  constructor(url, options = {}) {
    this.log = [];
    this.waiting = new Set();
    this.socket = io(url, { forceNew: true, reconnection: false, ...options });
    this.socket.on("connect", () => this.heard("connect"));
    this.socket.on("connect_error", (err) => this.heard("connect_error", err.message));
    this.socket.on("disconnect", (reason) => this.heard("disconnect", reason));
    this.socket.onAny((event, ...args) => this.heard(event, ...args));
  }

  heard(event, ...args) {
    this.log.push({ event, args });
    for (const look of this.waiting) look();
  }

  // until resolves to the arguments of an event that came at any time.
  until(event, fits = () => true) {
    return new Promise((resolve, reject) => {
      const fail = () => reject(new Error(`no ${event}: ${fits}; ${JSON.stringify(this.log.slice(-40))}`));
      const timer = setTimeout(fail, patience);
      const look = () => {
        const found = this.log.find((h) => h.event === event && fits(...h.args));
        if (!found) return;
        clearTimeout(timer);
        this.waiting.delete(look);
        resolve(found.args);
      };
      this.waiting.add(look);
      look();
    });
  }
}

// Who has no password sees nothing.
for (const auth of [{}, { username, password: "wrong" }, { username: "nobody", password }, { sessionId: "00".repeat(40) }]) {
  const stranger = new Client(`${node}/admin`, { auth });
  assert.deepEqual(await stranger.until("connect_error"), ["invalid credentials"]);
  stranger.socket.disconnect();
}

const admin = new Client(`${node}/admin`, { auth: { username, password } });
const [session] = await admin.until("session");
const [{ supportedFeatures }] = await admin.until("config");
const commands = ["EMIT", "JOIN", "LEAVE", "DISCONNECT", "MJOIN", "MLEAVE", "MDISCONNECT"];
assert.deepEqual([...supportedFeatures].sort(), ["AGGREGATED_EVENTS", "ALL_EVENTS", ...(write ? commands : [])].sort());
await admin.until("all_sockets");

// The session is as good as the password, until somebody changes that.
const again = new Client(`${node}/admin`, { auth: { sessionId: session } });
await again.until("config");
again.socket.disconnect();

// Both servers tell of themselves, and of their sockets, rooms and events.
const [stats] = await admin.until("server_stats", (s) => s.serverId !== "nodejs");
await admin.until("server_stats", (s) => s.serverId === "nodejs");
for (const [name, type] of Object.entries({
  serverId: "string", hostname: "string", pid: "number", uptime: "number", clientsCount: "number",
  pollingClientsCount: "number", namespaces: "object", aggregatedEvents: "object",
})) {
  assert.equal(typeof stats[name], type, name);
}
assert.deepEqual(stats.namespaces.map((n) => n.name).sort(), ["/", "/admin"]);

const ours = new Client(`${node}/?token=${token}`, {
  auth: { token }, extraHeaders: { Cookie: `session=${token}`, Authorization: `Bearer ${token}` },
});
const theirs = new Client(peer);
await Promise.all([ours.until("connect"), theirs.until("connect")]);
for (const { socket } of [ours, theirs]) {
  const [seen, at] = await admin.until("socket_connected", (s) => s.id === socket.id);
  assert.equal(seen.nsp, "/");
  assert.ok(seen.clientId && seen.transport && seen.handshake.address && seen.handshake.issued, JSON.stringify(seen));
  assert.ok(seen.rooms.includes(socket.id));
  assert.ok(!Number.isNaN(new Date(at).getTime()));
  if (seen.transport !== "websocket") { // else it had been upgraded before it was told of
    await admin.until("socket_updated", (s) => s.id === socket.id && s.transport === "websocket");
  }
}
const is = ({ socket }) => (nsp, id, args) => nsp === "/" && id === socket.id && args;
const { id } = ours.socket;
const peerID = theirs.socket.id;
await admin.until("room_joined", (nsp, room, of) => room === `${id}_auth` && of === id);
await admin.until("event_sent", (...args) => is(ours)(...args)?.[0] === "request_elevation_return");
ours.socket.emit("spectate", { guild_id: guild, token });
ours.socket.emit("spectate", JSON.stringify({ guild_id: guild, token, _id: 2 }));
ours.socket.emit("request_elevation", token);
const [, , [, spectate]] = await admin.until("event_received", (...args) => is(ours)(...args)?.[0] === "spectate");
assert.deepEqual(spectate, { guild_id: guild, token: "********" });
await admin.until("event_sent", (...args) => is(ours)(...args)?.[0] === "spectate_return");
await admin.until("event_received", (...args) => is(ours)(...args)?.[0] === "request_elevation");
theirs.socket.emit("hello", "you");
await admin.until("event_received", (...args) => is(theirs)(...args)?.[0] === "hello");
await admin.until("event_sent", (...args) => is(theirs)(...args)?.[0] === "hello back");
await admin.until("server_stats", (s) =>
  s.serverId !== "nodejs" && ["rawConnection", "packetsIn", "bytesOut"].every((type) => s.aggregatedEvents.some((e) => e.type === type)));

// Who comes later is told of all sockets, whichever server they are at, by either server.
for (const url of [node, peer]) {
  const later = new Client(`${url}/admin`, { auth: { username, password } });
  const [sockets] = await later.until("all_sockets");
  for (const { socket } of [ours, theirs]) {
    const seen = sockets.find((s) => s.id === socket.id && s.nsp === "/");
    assert.ok(seen?.clientId && seen.transport === "websocket", `${url}: ${JSON.stringify(seen)}`);
  }
  if (url === node) assert.ok(!JSON.stringify(sockets).includes(token));
  later.socket.disconnect();
}

// Commands reach sockets of both servers, or nobody.
admin.socket.emit("join", "/", "a room", id);
admin.socket.emit("join", "/", "a room", peerID);
if (write) { // another server may be asked to join later than an event comes by
  for (const of of [id, peerID]) await admin.until("room_joined", (nsp, room, s) => room === "a room" && s === of);
}
admin.socket.emit("emit", "/", "a room", "news", { a: 1 });
if (write) {
  for (const client of [ours, theirs]) assert.deepEqual(await client.until("news"), [{ a: 1 }]);
}
admin.socket.emit("leave", "/", "a room", id);
admin.socket.emit("emit", "/elsewhere", undefined, "news");
if (write) {
  await admin.until("room_left", (nsp, room, of) => room === "a room" && of === id);
}
admin.socket.emit("_disconnect", "/", false, peerID);
if (write) {
  assert.deepEqual(await theirs.until("disconnect"), ["io server disconnect"]);
  await admin.until("socket_disconnected", (nsp, of) => of === peerID);
  admin.socket.emit("_disconnect", "/", true, id);
  await ours.until("disconnect");
} else {
  theirs.socket.emit("hello", "again"); // is answered after what came before
  await theirs.until("hello back", (text) => text === "again");
  ours.socket.disconnect();
}
const [, , reason] = await admin.until("socket_disconnected", (nsp, of) => of === id);
assert.equal(typeof reason, "string");
if (!write) assert.ok(!admin.log.some(({ args }) => args.includes("a room")) && !ours.log.some((h) => h.event === "news"));

// The token was in the query, headers, auth and payloads.
assert.ok(!JSON.stringify(admin.log).includes(token), "the token is shown");
console.log(JSON.stringify({ events: admin.log.length }));
process.exit(0);
