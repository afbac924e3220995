import { execFileSync } from "node:child_process";
import { existsSync, readFileSync } from "node:fs";
import { gzipSync } from "node:zlib";
import { build } from "esbuild";
import { expect, test } from "vitest";
import { binary } from "./node.js";

const root = new URL("..", import.meta.url).pathname;
const manifest = JSON.parse(readFileSync(`${root}/package.json`, "utf8")) as {
  version: string;
  exports: Record<string, string | { types: string; default: string }>;
};

async function bundled(code: string): Promise<number> {
  const { outputFiles } = await build({
    stdin: { contents: code, resolveDir: root, loader: "ts" },
    bundle: true, minify: true, format: "esm", write: false, external: ["socket.io-client", "react"],
  });
  return gzipSync(outputFiles[0]!.contents, { level: 9 }).length;
}

test("the core is under 12 KB, and what is not used is left out", async () => {
  const whole = await bundled(`export * from "./dist/index.js"`);
  const typical = await bundled(`import { connect } from "./dist/index.js"; connect("/");`);
  const store = await bundled(`import { Store } from "./dist/index.js"; new Store();`);
  console.info(`gzipped: all of the core ${whole}, connect ${typical}, the store alone ${store} bytes`);
  expect(whole).toBeLessThan(12 * 1024);
  expect(typical).toBeLessThanOrEqual(whole);
  expect(store).toBeLessThan(3 * 1024);
});

test("every entry point is there, with types", () => {
  for (const [name, target] of Object.entries(manifest.exports)) {
    const files = typeof target === "string" ? [target] : [target.types, target.default];
    for (const file of files) expect(existsSync(`${root}/${file}`), `${name}: ${file}`).toBe(true);
  }
});

test("the version is that of the node", () => {
  expect(execFileSync(binary, ["--version"], { encoding: "utf8" }).split(" ")[1]).toBe(manifest.version);
});

test("the core asks for no framework", () => {
  const { dependencies } = JSON.parse(readFileSync(`${root}/package.json`, "utf8")) as { dependencies: object };
  expect(Object.keys(dependencies)).toEqual(["socket.io-client"]);
});
