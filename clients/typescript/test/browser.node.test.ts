// One connection for all tabs of a real browser, in each way that a browser has.
import { createServer, type Server } from "node:http";
import { existsSync } from "node:fs";
import { build } from "esbuild";
import { chromium, type Browser, type BrowserContext, type Page } from "playwright-core";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, inject, test } from "vitest";
import type { GuildView } from "../src/index.js";
import type { connectShared, SharedOptions } from "../src/shared.js";
import { entry, newGuild, Redis, startNode, token, type Running } from "./node.js";

declare global {
  // What the page of the test has.
  var connectShared_: typeof connectShared, view: GuildView;
}

const executablePath = process.env.CHROMIUM ?? ["/usr/bin/chromium", "/usr/bin/chromium-browser"].find(existsSync);
const root = new URL("..", import.meta.url).pathname;
let server: Server;
let browser: Browser;
let context: BrowserContext;
let node: Running;
let redis: Redis;
let guild: string;
let script: "ours" | "none" | "silent" | "late" = "ours"; // of the SharedWorker
let comes: () => void; // makes the late one come

beforeAll(async () => {
  const bundle = async (contents: string): Promise<Uint8Array> => (await build({
    stdin: { contents, resolveDir: root }, bundle: true, format: "esm", write: false,
  })).outputFiles[0]!.contents;
  const page = await bundle(
    `import { connectShared } from "./dist/shared.js"; globalThis.connectShared_ = connectShared;`,
  );
  const worker = await bundle(`import "./dist/worker.js";`);
  server = createServer(async (request, response) => {
    if (request.url === "/worker.js" && script === "late") await new Promise<void>((resolve) => (comes = resolve));
    const served = script === "silent" ? "" : worker;
    const files: Record<string, [string, string | Uint8Array]> = {
      "/": ["text/html", `<!doctype html><title>a tab</title><script type="module" src="/page.js"></script>`],
      "/page.js": ["text/javascript", page],
      ...(script !== "none" && { "/worker.js": ["text/javascript", served] as [string, string | Uint8Array] }),
    };
    const [type, body] = files[request.url!] ?? ["", ""];
    response.writeHead(type ? 200 : 404, { "content-type": type }).end(body);
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  browser = await chromium.launch({ executablePath, args: ["--no-sandbox"] });
});
afterAll(async () => {
  await browser?.close();
  server?.close();
});
beforeEach(async () => {
  node = await startNode(inject("redis"));
  redis = new Redis(inject("redis"));
  guild = newGuild();
  context = await browser.newContext();
});
afterEach(async () => {
  await context.close();
  await node.stop("SIGKILL");
  redis.close();
});

async function open(options: Pick<SharedOptions, "mode"> = {}): Promise<Page> {
  const page = await context.newPage();
  await page.goto(`http://127.0.0.1:${(server.address() as { port: number }).port}/`);
  await page.waitForFunction(() => "connectShared_" in globalThis);
  await page.evaluate(async ([url, bearer, id, more]) => {
    const client = connectShared_(url, {
      ...more, getToken: () => bearer, backoff: { first: 50, most: 200 },
      io: { transports: ["websocket"] }, // whose end a node sees at once
    });
    globalThis.view = client.spectate(id);
    const late = new Promise((_, fail) => setTimeout(() => {
      fail(new Error(`not ready: ${JSON.stringify(client.connection.getSnapshot())}`));
    }, 60_000));
    await Promise.race([globalThis.view.ready, late]);
  }, [node.url, token({ sub: "77", guilds: { [guild]: 0x6 } }), guild, options] as const);
  return page;
}

async function publish(from: number, to: number): Promise<void> {
  for (let n = from; n <= to; n++) await redis.publish(guild, entry(guild, n), { logs: true });
}

/** Returns the log of a tab once it holds an entry. */
async function log(page: Page, last: number): Promise<number[]> {
  const numbers = (): number[] => view.log.getSnapshot().entries.map((e) => Number(e.payload.id));
  await page.waitForFunction((n) => view.log.getSnapshot().entries.some((e) => e.payload.id === String(n)), last);
  return page.evaluate(numbers);
}

async function connections(): Promise<number> {
  const metrics = await (await fetch(`${node.url}/metrics`)).text();
  const lines = metrics.split("\n").filter((line) => line.startsWith("guildcast_connections{"));
  return lines.reduce((sum, line) => sum + Number(line.split(" ").at(-1)), 0);
}

async function settles(expected: number): Promise<void> {
  for (const begin = Date.now(); ; ) {
    const found = await connections();
    if (found === expected) return;
    if (Date.now() - begin > 60_000) throw new Error(`${found} connections, want ${expected}`);
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}

describe.each([
  ["a SharedWorker", {}, "ours"],
  ["a leader", { mode: "leader" }, "ours"],
  ["a leader, for the SharedWorker's script is missing", {}, "none"],
] as const)("shared by %s", (_name, options, worker) => {
  test("tabs hold one connection, and miss nothing when one is killed", async () => {
    script = worker;
    const pages: Page[] = [];
    for (let i = 0; i < 5; i++) pages.push(await open(options));
    await publish(1, 10);
    for (const page of pages) expect(await log(page, 10)).toEqual([1, 2, 3, 4, 5, 6, 7, 8, 9, 10]);
    await settles(1);
    await pages.shift()!.close(); // the first, which leads
    await publish(11, 20);
    for (const page of pages) expect((await log(page, 20)).length).toBe(20);
    await settles(1);
    expect(await pages[0]!.evaluate(() => view.log.getSnapshot().entries.some((e) => e.gapBefore))).toBe(false);
    for (const page of pages) await page.close();
    await settles(0);
  }, 120_000);
});

test("tabs whose SharedWorker says nothing share by a leader", async () => {
  script = "silent";
  const pages = await Promise.all([open(), open()]);
  await settles(1);
  await publish(1, 2);
  for (const page of pages) expect(await log(page, 2)).toEqual([1, 2]);
}, 120_000);

test("tabs turn from a leader to the SharedWorker once it speaks", async () => {
  script = "late";
  const pages = await Promise.all([open(), open()]);
  await settles(1);
  await publish(1, 2);
  for (const page of pages) expect(await log(page, 2)).toEqual([1, 2]);
  comes();
  pages.push(await open());
  await settles(1);
  await publish(3, 4);
  for (const page of pages) expect((await log(page, 4)).slice(-2)).toEqual([3, 4]);
  const leaders = (): Promise<number> => pages[0]!.evaluate(async () => {
    const { held } = await navigator.locks.query();
    return held!.filter((lock) => lock.name!.endsWith(" ")).length; // its name ends with an empty key
  });
  for (const begin = Date.now(); await leaders() > 0;) expect(Date.now() - begin).toBeLessThan(60_000);
}, 120_000);

test("tabs that share nothing have one each", async () => {
  const pages = [await open({ mode: "alone" }), await open({ mode: "alone" })];
  await settles(2);
  await publish(1, 2);
  for (const page of pages) expect(await log(page, 2)).toEqual([1, 2]);
});
