// Compiled, never run: what the types take, and what they don't.
import { createClient, createCluster, createSentinel } from "redis";

import { Emitter, Pools, Publisher, RequestError, Worker, revoke, type Position, type Redis } from "@guildcast/server";

export const clients: Redis[] = [
  createClient(), createCluster({ rootNodes: [] }), createSentinel({ name: "bot", sentinelRootNodes: [] }),
];

export async function uses(redis: Redis): Promise<Position> {
  const publisher = new Publisher(redis, { retry: { timeout: 1_000 } });
  await publisher.publish("1", { kind: "a kind of one's own", payload: null, requires: ["VIEW_SETTINGS", 8] });
  await publisher.publish("1", { id: "1", guild_id: "1", action_number: 1, data: {} }, { logs: true });
  // @ts-expect-error: nobody would get it
  await publisher.publish("1", { payload: 1 });
  // @ts-expect-error: there is no such permission
  await publisher.publish("1", { kind: "member", payload: 1, requires: "VIEW_SETTING" });
  // @ts-expect-error: a number above 2^53 is not exact
  await publisher.publish(607637793107345431, { kind: "member", payload: 1 });

  const pools = new Pools(redis);
  await pools.put("1", "member", { id: "1", name: "ana" });
  // @ts-expect-error: there is no such type
  await pools.put("1", "members", { id: "1" });
  // @ts-expect-error: without an id
  await pools.put("1", "member", { name: "ana" });

  // @ts-expect-error: neither sub nor jti
  await revoke(redis, { iatBefore: 1 });
  await revoke(redis, { sub: "1", iatBefore: "now" });
  await new Emitter(redis).to("a", "b").volatile.emit("x", 1);
  await new Worker(redis, {
    fetch: ({ ids }) => ({ data: ids.map((id) => ({ id })) }),
    async *all() { yield { data: [] }; },
    search() { throw new RequestError(503, "no_index"); },
    interpret: async ({ guild_id }) => ({ guild_id: Number(guild_id), actions: [] }),
  }).run(AbortSignal.timeout(1));
  // @ts-expect-error: no answer to an interpretation
  new Worker(redis, { interpret: () => ({ data: [] }) });
  return publisher.publishDurably("1", { kind: "member", payload: 1 }, { idempotencyKey: "k" });
}
