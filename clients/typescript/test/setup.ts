import type { TestProject } from "vitest/node";
import { startNode, startRedis } from "./node.js";

/** One node and its Redis for all tests that do not end theirs. */
export default async function setup(project: TestProject): Promise<() => Promise<void>> {
  const redis = await startRedis();
  const node = await startNode(redis.url);
  project.provide("node", node.url);
  project.provide("redis", redis.url);
  return async () => {
    await node.stop();
    await redis.stop();
  };
}

declare module "vitest" {
  interface ProvidedContext {
    node: string;
    redis: string;
  }
}
