import assert from "node:assert/strict";
import { execFileSync, spawnSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { fileURLToPath } from "node:url";

import { cleanup, client, guild, startRedis } from "./world.js";

const root = fileURLToPath(new URL("..", import.meta.url));

test("the README is a program that works", async (t) => {
  const { url } = await startRedis(t);
  const blocks = [...readFileSync(join(root, "README.md"), "utf8").matchAll(/^```(\w*)\n([^]*?)^```$/gm)];
  assert.ok(blocks.length >= 7 && blocks.every(([, lang]) => lang === "js"));
  const program = blocks.map(([, , text]) => text).join("\n").replaceAll("redis://localhost:6379", url);
  const dir = mkdtempSync(join(root, "dist", "readme-")); // inside, so that the package finds itself
  cleanup(t, () => rmSync(dir, { recursive: true }));
  const file = join(dir, "readme.mjs");
  writeFileSync(file, program);
  const run = spawnSync(process.execPath, [file], { encoding: "utf8", timeout: 50_000 });
  assert.deepEqual([run.status, run.stderr], [0, ""]);
  const redis = await client(t, url);
  assert.equal(await redis.xLen(`guildcast:history:{${guild}}`), 4);
  assert.equal(await redis.zCard("guildcast:revocations"), 2);
  assert.equal(await redis.exists(`guildcast:pool:{${guild}}:member`), 0);
});

test("the types are those that are promised", () => {
  const tsc = join(root, "node_modules", ".bin", "tsc");
  execFileSync(tsc, ["-p", join(root, "test")], { stdio: "pipe", encoding: "utf8" });
});
