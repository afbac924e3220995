// Runs the blocks of the README: those in TypeScript are one program, which a real node serves; that in TSX is shown.
import { execFile } from "node:child_process";
import { mkdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { promisify } from "node:util";
import { createElement, type FunctionComponent } from "react";
import { renderToString } from "react-dom/server";
import { afterAll, beforeAll, expect, inject, test } from "vitest";
import type { Client } from "../src/index.js";
import { fake } from "./fake.js";
import { member, Redis, token } from "./node.js";

const root = new URL("..", import.meta.url).pathname;
const folder = `${root}/test/readme`;
const guild = "607637793107345431";
const page = readFileSync(`${root}/README.md`, "utf8");
/** Runs a program, and shows what it said if it fails. */
async function run(command: string, args: string[]): Promise<{ stdout: string; stderr: string }> {
  try {
    return await promisify(execFile)(command, args, { cwd: root });
  } catch (e) {
    const { stdout, stderr } = e as { stdout: string; stderr: string };
    throw new Error(`${command} ${args.join(" ")} failed:\n${stdout}${stderr}`, { cause: e });
  }
}

const blocks = [...page.matchAll(/(<!-- not run: .* -->\n)?```(\w+)\n([^]*?)```/g)]
  .map(([, excused, language, text]) => ({ excused: excused !== undefined, language, text: text! }));
const ofLanguage = (language: string): string[] =>
  blocks.filter((b) => b.language === language && !b.excused).map((b) => b.text);

interface AppProps {
  client: Client;
  guild: string;
}

/** Puts the imports of a program first, as a module has them. */
function program(parts: string[]): string {
  const imports = /^import [^]*?;\n/gm;
  const all = parts.join("\n");
  return [...(all.match(imports) ?? []), "declare function fetchToken(): Promise<string>;\n", all.replace(imports, "")]
    .join("");
}

beforeAll(async () => {
  mkdirSync(folder, { recursive: true });
  const redis = new Redis(inject("redis"));
  for (const id of ["1", "2", "214037134477230080"]) {
    await redis.put(guild, "member", id, member(id, { name: `mara ${id}` }));
  }
  await redis.command("SADD", `guildcast:online:{${guild}}`, "1");
  await redis.put(guild, "channel", "5", { id: "5", name: "general" });
  await redis.put(guild, "role", "9", { id: "9", name: "mods" });
  await redis.put(guild, "settingValue", "command_prefix", { id: "command_prefix", value: "!" });
  await redis.publish(guild, { id: "1", guild_id: guild, action_number: 3001, data: {} }, { logs: true });
  redis.close();
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

test("every block is run, or says why not", () => {
  expect(new Set(blocks.filter((b) => !b.excused).map((b) => b.language))).toEqual(new Set(["sh", "ts", "tsx"]));
  expect(ofLanguage("sh")).toEqual(["npm install @guildcast/client\n"]);
});

test("the blocks in TypeScript are a program that compiles and works", async () => {
  writeFileSync(`${folder}/program.ts`, `${program(ofLanguage("ts"))}\nsetTimeout(() => process.exit(0), 300);\n`);
  writeFileSync(`${folder}/app.tsx`, ofLanguage("tsx").join("\n"));
  writeFileSync(`${folder}/tsconfig.json`, JSON.stringify({
    extends: "../../tsconfig.json", include: ["."],
    compilerOptions: { rootDir: ".", outDir: "out", types: ["node"], jsx: "react-jsx", declaration: false },
  }));
  await run("npx", ["tsc", "-p", folder]);
  const { App } = (await import(`${folder}/out/app.js`)) as { App: FunctionComponent<AppProps> };
  const { client } = fake();
  expect(renderToString(createElement(App, { client, guild }))).toMatch(/role="status">connecting<.*0.* members/);
  client.close();

  const bearer = token({ sub: "77", guilds: { [guild]: 0x106 } });
  const compiled = readFileSync(`${folder}/out/program.js`, "utf8");
  const code = compiled.replaceAll("https://gateway.example.com", inject("node"));
  writeFileSync(`${folder}/out/program.js`, `const fetchToken = async () => ${JSON.stringify(bearer)};\n${code}`);
  const { stdout, stderr } = await run("node", [`${folder}/out/program.js`]);
  expect(stderr).toBe("");
  expect(stdout).toContain("3 members");
  expect(stdout).toContain("latest: 3001");
  expect(stdout).toContain("user 214037134477230080");
  expect(stdout).toContain("3 more");
  expect(stdout).toMatch(/\[ \[\], \[ 'mara [^\]]+\] \]/);
  expect(stdout).toContain("connected live 1 1");
}, 60_000);
