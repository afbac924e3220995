// A worker as a process of its own, to be killed: worker.js REDIS_URL NAME. "stuck" takes requests and never answers.
import { connect, Worker } from "@guildcast/server";

const [url, name] = process.argv.slice(2);
const stop = new AbortController();
process.on("SIGTERM", () => stop.abort());
const redis = await connect(url);
const worker = new Worker(redis, {
  async fetch({ ids }) {
    console.log("took");
    if (name === "stuck") await new Promise(() => {});
    return { data: ids.map((id) => ({ id, name })) };
  },
}, { onReady: () => console.log("ready") });
await worker.run(stop.signal);
redis.destroy();
console.log("stopped");
