// Three users have the log open while the node is killed, while it is restarted by the page, and while their tokens
// expire: node log.mjs URL. Prints where it is, and in the end the positions of what each has seen.
import { browser, end, must, open, positions, say, told } from "./browser.mjs";

const url = process.argv[2];
const users = ["member", "log_viewer", "administrator"];
const pages = await Promise.all(users.map((user) => open(`${url}/#/${user}/log`, { lost: true })));
const each = (work) => Promise.all(pages.map(work));
/** Waits until each page has said so often that nothing is missing. */
const back = (times) => each((page) => page.waitForFunction((n) => {
  const good = [...document.querySelectorAll(".diary .good")];
  return good.filter((line) => /nothing is missing/.test(line.textContent)).length >= n;
}, times));

await each((page) => page.locator("#log [role=option]").first().waitFor());
say("open");
await told(); // the node was killed, and things went on
await each((page) => page.locator(".banner").filter({ hasText: /Next try in|Trying now/ }).waitFor());
say("lost");
await back(1);
say("back");

await each((page) => page.getByRole("button", { name: "Let the token expire" }).click());
await back(2);
const ran = await each((page) => page.locator(".diary").getByText("The sign-in ran out").count());
must(ran.every((n) => n === 1), `a token did not run out: ${ran}`);
say("expired");

await pages[0].getByRole("button", { name: "Restart the node" }).click();
await back(3);
const gone = await each((page) => page.locator(".diary .bad").filter({ hasNotText: /connection was lost|sign-in ran out/ }).count());
must(gone.every((n) => n === 0), `something is missing: ${gone}`);
say("restarted");
await told(); // the last event was published
await each((page) => page.locator("#log").getByText("the last event").waitFor());
const seen = {};
for (const [i, page] of pages.entries()) {
  seen[users[i]] = await positions(page);
  say("read", users[i]);
}
say("seen", seen);
await browser.close();
await end();
