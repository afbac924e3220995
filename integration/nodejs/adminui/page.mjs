// The official admin UI's page in Chromium, connected to a guildcast node: it logs in, looks at the servers, sockets,
// rooms and events of the cluster, and disconnects a socket of each server.
// Environment: NODE, PEER (URLs of the node and of a Node.js server, which serves the page), USER, PASSWORD, TOKEN.
import assert from "node:assert/strict";
import { chromium } from "playwright-core";
import { io } from "socket.io-client";

const { NODE: node, PEER: peer, USER: user, PASSWORD: password, TOKEN: token } = process.env;
const patience = 60_000;

const connect = (url, auth) =>
  new Promise((resolve, reject) => {
    const socket = io(url, { auth, forceNew: true, reconnection: false });
    socket.on("connect", () => resolve(socket)).on("connect_error", reject);
  });
const gone = (socket) =>
  new Promise((resolve, reject) => {
    const timer = setTimeout(() => reject(new Error("the socket was not disconnected")), patience);
    socket.on("disconnect", (reason) => (clearTimeout(timer), resolve(reason)));
  });

const browser = await chromium.launch({ executablePath: "/usr/bin/chromium", args: ["--no-sandbox"], timeout: patience });
const page = await browser.newPage({ viewport: { width: 1600, height: 1000 } });
page.setDefaultTimeout(patience);
const errors = [];
page.on("pageerror", (err) => errors.push(err.message));
// Shown if the test fails.
const say = (...what) => console.log(new Date().toISOString(), ...what);
page.on("websocket", (ws) => (say("page opens", ws.url()), ws.on("close", () => say("page closed", ws.url()))));
page.on("requestfailed", (request) => say("page failed", request.url(), request.failure()?.errorText));

const before = await connect(node, { token });
await page.goto(peer);
const login = async (as) => {
  await page.getByLabel("Server URL").fill(node);
  await page.getByLabel("Username").fill(user);
  await page.getByLabel("Password").fill(as);
  await page.getByRole("button", { name: "Connect" }).click();
};
await login("wrong");
await page.getByText("Invalid credentials").waitFor();
await login(password);
await page.getByLabel("Server URL").waitFor({ state: "hidden" });

const open = async (title) => {
  await page.locator("nav").getByText(title, { exact: true }).click();
};
const row = (text) => page.locator("tbody tr").filter({ hasText: text });
const rows = async (...texts) => {
  for (const text of texts) await row(text).first().waitFor();
};
const after = [await connect(node, { token }), await connect(peer)];
const sockets = [before, ...after];

await open("Servers");
await rows("nodejs", "#");
assert.equal(await page.locator("tbody tr").count(), 2);
await open("Sockets");
await rows(...sockets.map((s) => s.id));
assert.ok(await row(before.id).getByText("WebSocket").or(row(before.id).getByText("HTTP long-polling")).first().isVisible());
await open("Rooms");
await rows(`${before.id}_auth`, `${after[0].id}_auth`);
await open("Events");
// A page that has to come back, as on a machine that is too slow for its upgrade, has missed what happened meanwhile.
const happens = async (deed, ...texts) => {
  for (const deadline = Date.now() + patience; ; ) {
    await deed();
    const seen = await Promise.all(texts.map((text) => row(text).first().waitFor({ timeout: 5_000 }).then(() => "", String)));
    const missing = seen.filter(Boolean);
    if (!missing.length) return;
    say("not seen yet", ...missing);
    if (Date.now() > deadline) throw new Error(`the page shows no ${texts.join(" and ")}`);
  }
};
await happens(() => after[1].emit("hello", "a greeting"), "hello back");
await happens(async () => sockets.push(await connect(node, { token })), "request_elevation_return");

for (const socket of sockets) {
  const { id } = socket;
  const ended = gone(socket);
  await open("Sockets"); // a click on the button opens the socket's own page too
  await row(id).getByRole("button").click();
  assert.equal(await ended, "io server disconnect");
  await open("Servers");
  await open("Sockets");
  await row(id).first().waitFor({ state: "detached" }); // also from the page that is being left
}

// A page that is loaded again comes back by its session.
await page.reload();
await open("Servers");
await rows("nodejs");
assert.deepEqual(errors, []);
await browser.close();
console.log("done");
process.exit(0);
