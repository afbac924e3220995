// A guildcast worker on the kit: answers `interpret` with an echo, and pool requests from a JSON file.
//   REDIS_URL=redis://localhost:6379 SERVICES=interpret,pool:0 node worker.js pools.json
import { readFileSync } from "node:fs";
import { setTimeout as sleep } from "node:timers/promises";

import { connect, Worker } from "@guildcast/server";

const { REDIS_URL = "redis://localhost:6379", SERVICES, PART_SIZE = 1000, DELAY_MS = 0 } = process.env;
const pools = JSON.parse(readFileSync(process.argv[2], "utf8"));
const poolOf = ({ type, guild_id }) => pools[guild_id || "global"]?.[type] ?? [];

const handlers = {
  interpret({ action, guild_id, message_id, content, silent }) {
    const said = { action: 3001, message_id: message_id + 1, content: `you said: ${content}` };
    return { guild_id, actions: action === 3001 && !silent ? [said] : [] };
  },
  fetch(args) {
    const data = poolOf(args).filter(({ id }) => args.ids.includes(id));
    return { data, nonexistent: args.ids.filter((id) => !data.some((entity) => entity.id === id)) };
  },
  search(args) {
    const matches = (text) => text?.toLowerCase().includes(args.query.toLowerCase());
    const data = poolOf(args).filter(({ name, nick, username }) => [name, nick, username].some(matches));
    return { data: data.slice(0, args.limit ?? 25) };
  },
  all: async (args) => {
    await sleep(Number(DELAY_MS)); // pretends that the work takes time
    return { data: poolOf(args) };
  },
};

const stop = new AbortController();
for (const signal of ["SIGINT", "SIGTERM"]) process.once(signal, () => stop.abort());
const redis = await connect(REDIS_URL, { onError: (error) => console.error("redis:", error.message) });
await new Worker(redis, handlers, {
  services: SERVICES?.split(","), partSize: Number(PART_SIZE), onReady: () => console.log("worker is ready"),
}).run(stop.signal);
redis.destroy();
