// Spectators behind one URL that measure for how long each hears nothing.
//
//   URL, TOKEN, GUILD   what they connect to, elevate with and spectate
//   CLIENTS             how many
//   TRANSPORTS          with commas between them; those of the client by default. Of several lists with ; between them
//                       the clients take turns
//
// Prints {"spectating": n} when n clients spectate, and for the line "gaps" on standard input an object: "gaps", the
// longest time in ms between two events of each client since the line before it, "connected", the clients that
// spectate now, and "stranded", how often one heard nothing until its ping timeout.
import { createInterface } from "node:readline";
import { io } from "socket.io-client";

const { URL: url, TOKEN: token, GUILD: guild_id, CLIENTS: count, TRANSPORTS: transports } = process.env;
const lists = transports?.split(";").map((list) => list.split(","));
const clients = [];
let announced = false;
let refused = 0;
let stranded = 0;

const spectating = () => clients.filter((c) => c.spectating).length;

const hear = (client) => {
  const now = performance.now();
  if (client.last) client.gap = Math.max(client.gap, now - client.last);
  client.last = now;
  client.events++;
};

for (let i = 0; i < Number(count); i++) {
  const client = { gap: 0, last: 0, events: 0, spectating: false };
  // The proxy picks a node by this header.
  const socket = io(url, {
    forceNew: true, auth: { token }, extraHeaders: { "X-Forwarded-For": `192.0.2.${i}` },
    ...(lists && { transports: lists[i % lists.length] }),
  });
  socket.on("connect_error", () => refused++);
  socket.on("connect", () => socket.emit("spectate", { guild_id, token }));
  socket.on("disconnect", (reason) => {
    client.spectating = false;
    if (reason === "ping timeout") stranded++;
  });
  socket.on("spectate_return", ({ success }) => {
    client.spectating = success;
    if (!announced && spectating() === Number(count)) {
      announced = true;
      console.log(JSON.stringify({ spectating: spectating() }));
    }
  });
  socket.on("log_pool", () => hear(client));
  clients.push(client);
}

createInterface({ input: process.stdin })
  .on("line", () => {
    const now = performance.now();
    console.log(JSON.stringify({
      gaps: clients.map((c) => Math.round(Math.max(c.gap, c.last ? now - c.last : 0))),
      connected: spectating(), refused, stranded,
      events: Math.min(...clients.map((c) => c.events)),
    }));
    for (const c of clients) c.gap = 0;
  })
  .on("close", () => process.exit(0));
