// What the tests of the demo page share: a browser, its pages, and lines to and from the Go test.
import { createInterface } from "node:readline";
import { chromium } from "playwright-core";

export const patience = 60_000; // ms

export const browser = await chromium.launch({
  executablePath: process.env.CHROMIUM ?? "/usr/bin/chromium", args: ["--no-sandbox"],
});

/** What went wrong in any page. */
export const complaints = [];

/**
 * Opens a page of its own context, or of the one given. lost: its connection will be cut, and the browser says so. held:
 * what the page cuts comes back with "Try now" alone, so that a test can look around meanwhile, however slow it is.
 */
export async function open(url, { context, lost = false, held = false, ...options } = {}) {
  context ??= await browser.newContext({ viewport: { width: 1440, height: 900 }, ...options });
  const page = await context.newPage();
  page.setDefaultTimeout(patience);
  page.on("pageerror", (e) => complaints.push(`${url}: ${e}`));
  page.on("console", (m) => {
    if (!["error", "warning"].includes(m.type())) return;
    if (lost && /ERR_CONNECTION|ERR_EMPTY_RESPONSE|WebSocket connection|Failed to load resource/.test(m.text())) return;
    // A slow browser's tab turns to the SharedWorker, and closes what it was about to open itself.
    if (/WebSocket is closed before the connection is established/.test(m.text())) return;
    complaints.push(`${url}: ${m.text()}`);
  });
  await page.addInitScript(() => {
    // Cumulative Layout Shift as browsers report it: the worst burst, of at most 5 s and without a pause of 1 s. A sum
    // over all of a page's life would measure how long a test took.
    globalThis.shift = 0;
    let burst = 0, from = -Infinity, last = -Infinity;
    new PerformanceObserver((list) => {
      for (const { hadRecentInput, startTime, value } of list.getEntries()) {
        if (hadRecentInput) continue;
        if (startTime - last >= 1000 || startTime - from >= 5000) [burst, from] = [0, startTime];
        last = startTime;
        burst += value;
        globalThis.shift = Math.max(globalThis.shift, burst);
      }
    }).observe({ type: "layout-shift", buffered: true });
  });
  if (held) {
    await page.addInitScript(() => {
      const later = globalThis.setTimeout;
      globalThis.setTimeout = (work, ms, ...rest) => (ms === 5000 ? 0 : later(work, ms, ...rest));
    });
  }
  await page.goto(url);
  return page;
}

const input = createInterface({ input: process.stdin })[Symbol.asyncIterator]();

/** Waits for the Go test's next line. */
export const told = async () => (await input.next()).value;

export const say = (what, value) => console.log(value === undefined ? what : `${what} ${JSON.stringify(value)}`);

export function must(condition, what) {
  if (!condition) throw new Error(what);
}

/** Ends the process, with an error if a page had one. */
export async function end() {
  await browser.close();
  must(complaints.length === 0, `the pages complain:\n${complaints.join("\n")}`);
  process.exit(0);
}

/**
 * The positions of all events in a page's log, oldest first, as one reads them: paused, and scrolled from the top to the
 * bottom.
 */
export async function positions(page) {
  if (await page.getByRole("button", { name: "Pause" }).count()) await page.getByRole("button", { name: "Pause" }).click();
  const list = page.locator("#log");
  const found = new Map(); // row to position; null of a remark
  for (let top = 0; ; ) {
    const at = await list.evaluate(async (node, top) => {
      node.scrollTop = top;
      const edges = node.getBoundingClientRect();
      let rows = [];
      const drawn = () => { // rows fill the list, but for its padding
        rows = [...node.querySelectorAll('[role="option"]')];
        const bounds = rows.map((r) => r.getBoundingClientRect());
        return bounds.some((r) => r.top <= edges.top + 40) && bounds.some((r) => r.bottom >= edges.bottom - 40);
      };
      for (let frames = 0; frames < 1800 && (frames < 3 || !drawn()); frames++) await new Promise(requestAnimationFrame);
      return {
        rows: rows.map((r) => [r.id, r.querySelector("[data-position]")?.dataset.position ?? null]),
        end: node.scrollTop + node.clientHeight >= node.scrollHeight - 1, page: node.clientHeight,
      };
    }, top);
    for (const [id, position] of at.rows) found.set(Number(id.replace("log-", "")), position);
    if (at.end) break;
    top += at.page;
  }
  const rows = [...found.entries()].sort((a, b) => a[0] - b[0]);
  must(rows.every(([seq], i) => i === 0 || seq === rows[i - 1][0] + 1), "rows were skipped while scrolling");
  return rows.map(([, position]) => position).filter((p) => p !== null);
}
