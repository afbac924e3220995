import assert from "node:assert/strict";
import { test } from "node:test";

import { start } from "@guildcast/testserver";

test("a nick reaches the dashboard", async (t) => {
  const node = await start();
  t.after(() => node.stop());
  await node.pools.replace("4242", "member", [{ id: "7", name: "ana", nick: "Ann" }]);

  const ana = await node.connect(node.token({ user: "7", guilds: { "4242": ["VIEW_PUBLIC_LOGS"] } }));
  await ana.spectate("4242", { include_logs: true });
  const { data } = await ana.pool({ type: "member", guild_id: "4242" });
  assert.equal(data.length, 1);

  // In place of this, your bot publishes to node.redisUrl.
  await node.publisher.publish("4242", { kind: "member", payload: { nick: "Anne" } });

  assert.deepEqual((await ana.wait("log_pool")).payload, { nick: "Anne" });
});
