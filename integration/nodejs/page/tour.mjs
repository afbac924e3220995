// Goes through all of the demo page: node tour.mjs URL. Prints what it measures.
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { browser, complaints, end, must, open, patience, say, told } from "./browser.mjs";

const url = process.argv[2];
const views = ["overview", "log", "members", "channels", "roles", "emoji", "responses", "settings", "chat", "compare"];
const axe = readFileSync(createRequire(import.meta.url).resolve("axe-core/axe.min.js"), "utf8");

/** Fails if axe finds anything. */
async function accessible(page, where) {
  if (!(await page.evaluate(() => "axe" in globalThis))) await page.evaluate(axe);
  const { violations } = await page.evaluate(() => globalThis.axe.run(document, { resultTypes: ["violations"] }));
  const found = violations.map((v) => `${v.id}: ${v.nodes.map((n) => `${n.target} ${n.failureSummary}`).join("; ")}`);
  must(found.length === 0, `${where}: axe finds\n${found.join("\n")}`);
}

/** Fails if something has moved by itself since the page was opened. */
async function still(page, where) {
  const shift = await page.evaluate(() => globalThis.shift);
  must(shift < 0.05, `${where}: layout shift ${shift}`);
  return shift;
}

async function begin() {
  const from = Date.now();
  const page = await open(url);
  await page.locator(".picker-card").first().waitFor();
  say("choice after ms", Date.now() - from);
  await accessible(page, "choice of a user");
  await page.getByRole("button", { name: /Maple/ }).click();
  await page.locator(".hero").getByText("The Archive").waitFor();
  await page.context().close();

  const again = Date.now();
  const log = await open(`${url}/#/administrator/log`);
  await log.locator("#log [role=option]").nth(10).waitFor(); // it opens full
  say("log after ms", Date.now() - again);
  await log.context().close();
}

/** Each view is opened anew, to see that nothing moves while it loads, and looked at in both themes. */
async function everyView(some) {
  const context = await browser.newContext({ viewport: { width: 1440, height: 900 } });
  for (const view of some) {
    const page = await open(`${url}/#/administrator/${view}`, { context });
    await page.locator(".status[data-state=live]").waitFor();
    await page.waitForFunction(() => !document.querySelector(".bone"));
    say(`layout shift of ${view}`, await still(page, view));
    await accessible(page, `${view}, light`);
    say(`light ${view}`);
    await page.getByRole("button", { name: "Use the dark theme" }).click();
    await page.locator(":root[data-theme=dark]").waitFor();
    await accessible(page, `${view}, dark`);
    say(`dark ${view}`);
    await page.getByRole("button", { name: "Use the light theme" }).click();
    await page.close();
  }
  await context.close();
}

async function smallWindows() {
  for (const [name, viewport] of Object.entries({ phone: { width: 390, height: 844 }, tablet: { width: 834, height: 1112 } })) {
    const context = await browser.newContext({ viewport, hasTouch: true });
    const page = await open(`${url}/#/log_viewer/overview`, { context });
    for (const view of views) {
      await page.goto(`${url}/#/log_viewer/${view}`);
      await page.locator(".status[data-state=live]").waitFor();
      const over = await page.evaluate(() => document.documentElement.scrollWidth - innerWidth);
      must(over <= 0, `${view} is ${over} px wider than a ${name}`);
    }
    await accessible(page, name);
    await still(page, name);
    await context.close();
  }
}

async function search() {
  const page = await open(`${url}/#/member/members`);
  const box = page.getByRole("searchbox");
  await box.pressSequentially("jurgen", { delay: 20 });
  await page.locator("#pool-members").getByText(/jürgen/i).first().waitFor();
  await box.fill("nobody is called that");
  await page.getByText("No member matches").waitFor();
  await page.goto(`${url}/#/member/responses`);
  await page.getByRole("searchbox").fill("kenobi");
  await page.locator("#pool-responses").getByText("hello there").waitFor();
  await page.locator("#pool-responses").getByText("hello there").click();
  await page.getByRole("region", { name: "hello there" }).getByText("Trigger").waitFor();
  await page.goto(`${url}/#/member/settings`);
  await page.getByText("Needs VIEW_SETTINGS").waitFor();
  await page.context().close();
}

async function readTheLog() {
  const page = await open(`${url}/#/administrator/log`);
  const list = page.locator("#log");
  await list.locator("[role=option]").nth(10).waitFor();
  // One tab stop; the arrow keys move in it, and Enter opens.
  must(await list.locator("a, button, input, [tabindex]").count() === 0, "rows of the log are tab stops");
  await list.focus();
  await list.evaluate((node) => { // all in one frame: somebody types faster than the page is drawn
    for (const key of ["ArrowDown", "ArrowDown", "Enter"]) node.dispatchEvent(new KeyboardEvent("keydown", { key, bubbles: true }));
  });
  const detail = page.getByRole("region", { name: "Event", exact: true });
  await detail.waitFor();
  const read = await detail.locator(".detail-text").textContent();
  // What is open stays, whatever comes.
  const pill = page.getByRole("button", { name: /^\d+ new$/ });
  await pill.waitFor();
  must(await detail.locator(".detail-text").textContent() === read, "the open event has changed");
  await accessible(page, "an open event");
  await page.keyboard.press("Escape");
  await detail.waitFor({ state: "detached" });
  await pill.click();
  await page.mouse.move(5, 5); // off the list, which holds still below the pointer
  await pill.waitFor({ state: "detached" });

  await page.getByRole("button", { name: "Moderation" }).click();
  await page.waitForFunction(() => {
    const rows = [...document.querySelectorAll("#log [role=option] .kind")];
    return rows.length > 0 && rows.every((r) => r.dataset.kind === "moderation");
  });
  await page.getByRole("button", { name: "Everything" }).click();
  await page.getByRole("searchbox").fill("wrote in");
  await page.waitForFunction(() => {
    const rows = [...document.querySelectorAll("#log [role=option]:not(.remark) .row-text")];
    return rows.length > 0 && rows.every((r) => r.textContent.includes("wrote in"));
  });
  await page.context().close();

  const member = await open(`${url}/#/member/log`);
  await member.getByText("needs VIEW_PUBLIC_LOGS").waitFor();
  must(await member.getByRole("button", { name: "Log entries" }).isDisabled(), "a member may choose log entries");
  await member.getByRole("searchbox").fill("user …"); // as one is called whose name nobody knows
  await member.getByText("Nothing matches").waitFor();
  await member.context().close();
}

async function compare() {
  const page = await open(`${url}/#/administrator/compare`);
  say("compare is open");
  const hidden = page.getByRole("region", { name: "Juniper" });
  await hidden.getByText(/\d+ log events? hidden: needs VIEW_PUBLIC_LOGS/).waitFor();
  await page.getByRole("region", { name: "Maple" }).getByText(/nothing hidden/).waitFor();
  say("compare counts");
  await page.getByLabel("Differences only").check();
  await page.waitForFunction(() => {
    const rows = [...document.querySelectorAll("#compare [role=option]")];
    return rows.length > 0 && rows.every((r) => r.querySelector(".hidden-cell"));
  });
  say("compare shows differences");
  await accessible(page, "differences");
  await page.context().close();
}

async function chat() {
  const page = await open(`${url}/#/member/chat`, { held: true });
  const input = page.getByLabel("Message the bot");
  await page.locator(".status[data-state=live]").waitFor();
  const box = await input.boundingBox();
  must(box.y + box.height <= 900, "the chat's input is below the fold");
  const write = async (text) => {
    await input.fill(text);
    await input.press("Enter");
  };
  await write("!set top of the morning::hey there");
  await page.getByText(/successfully set/).waitFor();
  await write("top of the morning");
  await page.locator(".message").last().getByText("hey there").waitFor();
  await write("!xpoll Snack?, pie, cake");
  const vote = page.locator(".message").last().locator(".reaction[aria-pressed=false]").first();
  await vote.click();
  await page.locator(".message").getByText(/edited/).waitFor(); // the bot counts it

  // While the connection is away, what is shown is marked as old, and what is sent as waiting.
  await page.getByRole("button", { name: "Cut the connection" }).click();
  await page.locator(".banner").getByText(/comes back in/).waitFor();
  await accessible(page, "a lost connection");
  await write("top of the morning");
  await page.locator(".message").last().getByText("waiting").waitFor();
  await page.getByRole("button", { name: "Try now" }).click();
  await page.locator(".message").last().getByText("hey there").waitFor();
  must(await page.locator(".message[data-state=waiting]").count() === 0, "a message waits for ever");
  await page.context().close();
}

/** What was found before the connection was lost is marked as old. */
async function oldResults() {
  const members = await open(`${url}/#/member/members`, { held: true });
  await members.locator("#pool-members [role=option]").first().waitFor();
  await members.getByRole("button", { name: "Cut the connection" }).click();
  await members.getByText("From before the connection was lost").waitFor();
  await members.getByRole("button", { name: "Try now" }).click();
  await members.getByText(/^\d+ members$/).waitFor();
  await members.context().close();
}

/** Retry: the list of users can't be had at first. */
async function retry() {
  const context = await browser.newContext();
  let fail = true;
  await context.route("**/demo/accounts.json*", (r) => (fail ? r.fulfill({ status: 503 }) : r.continue()));
  const before = complaints.length;
  const page = await open(url, { context, lost: true });
  await page.getByText("The demo could not be loaded").waitFor();
  fail = false;
  await page.getByRole("button", { name: "Retry" }).click();
  await page.locator(".picker-card").first().waitFor();
  must(complaints.length === before, "a failure that is shown is complained about too");
  await context.close();
}

async function tenTabs() {
  const context = await browser.newContext();
  const connections = () => metric(/^guildcast_connections{.*} (\d+)/gm);
  must(await connections() === 0, "the node has connections before the first page");
  await Promise.all(Array.from({ length: 10 }, async () => {
    const tab = await open(`${url}/#/administrator/log`, { context });
    await tab.locator("#log [role=option]").first().waitFor();
  }));
  const opened = Date.now(); // a slow browser's worker takes over from a leader
  for (let held; (held = await connections()) !== 1;) must(Date.now() - opened < patience, `ten tabs hold ${held} connections`);
  await context.close();
  const closed = Date.now();
  while (await connections() > 0) must(Date.now() - closed < patience, "a connection outlives its tabs");
  // The session of a page that is closed between its handshake by polling and the upgrade stays until its ping times out.
  must(await metric(/^guildcast_upgrades_total (\d+)/gm) === 0, "the page connects by polling at first");
}

/** The sum of what the node's metrics say. */
async function metric(line) {
  const metrics = await (await fetch(`${url}/metrics`)).text();
  return [...metrics.matchAll(line)].reduce((sum, [, n]) => sum + Number(n), 0);
}

async function tenThousand() {
  const page = await open(`${url}/#/administrator/log`);
  await page.locator("#log [role=option]").first().waitFor();
  say("flood");
  await told();
  await page.waitForFunction(() => document.querySelector(".foot").textContent.startsWith("10,000 events"));
  await page.getByRole("searchbox").fill("the last of them");
  await page.locator("#log [role=option] .row-text").getByText("the last of them").waitFor();
  await page.getByRole("searchbox").fill("");
  const received = await page.getByRole("region", { name: "Since this page" }).locator("dd").first().textContent();
  must(Number(received.replaceAll(",", "")) >= 10_000, `${received} events were received`);
  must(await page.locator(".diary .bad").count() === 0, "something may be missing");
  const frames = await page.evaluate(async () => {
    const node = document.getElementById("log");
    const times = [];
    let most = 0;
    let last = performance.now();
    for (let i = 0; i < 120; i++) {
      node.scrollTop += i % 40 === 39 ? 60_000 : 300;
      await new Promise((done) => requestAnimationFrame(done));
      const now = performance.now();
      times.push(now - last);
      last = now;
      most = Math.max(most, node.querySelectorAll("[role=option]").length);
    }
    times.sort((a, b) => a - b);
    return { median: times[60], worst: times[119], rows: most };
  });
  say("frames of 10,000 rows in ms", frames);
  must(frames.rows < 100, `${frames.rows} rows are in the document`);
  must(frames.median < 250, `a frame takes ${frames.median} ms`); // generous: the machine may be busy
  await page.context().close();
}

/** Runs parts one after the other. */
async function inTurn(...parts) {
  for (const part of parts) {
    await part();
    say(`used ${part.name}`);
  }
}

await inTurn(tenTabs, begin); // while there is no other page
await Promise.all([ // some at a time, since much of it is waiting
  everyView(views.slice(0, 5)), everyView(views.slice(5)),
  inTurn(search, readTheLog, smallWindows, chat, compare, oldResults, retry),
]);
await inTurn(tenThousand);
say("done");
await end();
