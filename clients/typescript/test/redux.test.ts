import { applyMiddleware, combineReducers, createStore } from "redux";
import { expect, test } from "vitest";
import type { PoolResult } from "../src/index.js";
import { actions, guildcastMiddleware, guildcastReducer, type GuildcastNews } from "../src/redux.js";
import { fake, settled } from "./fake.js";

function store(options?: Parameters<typeof guildcastMiddleware>[1]) {
  const { node, client } = fake();
  const news: { type: string }[] = [];
  const reducer = combineReducers({
    guildcast: guildcastReducer,
    all: (state: number = 0, action: { type: string }) => (news.push(action), state + 1),
  });
  const made = createStore(reducer, applyMiddleware(guildcastMiddleware(client, options) as never));
  return { node, client, news, store: made, state: () => made.getState().guildcast };
}

test("keeps a guild in plain objects", async () => {
  const { node, client, news, store: redux, state } = store({ events: true });
  redux.dispatch(actions.spectate("1", { backlog: 5 }));
  redux.dispatch(actions.load("channel"));
  await node.connect();
  node.elevate(3600);
  await settled();
  node.spectating();
  await settled();
  node.pool([{ id: "5", name: "general" }]);
  node.say("log_other", { id: "1", action_number: 3001 }, "11-0");
  node.say("resync", { guild_id: "9", reason: "overflow" });
  await settled();
  expect(state()).toMatchObject({
    guildId: "1", connection: { status: "connected", elevation: { userId: "77", error: null } },
    guild: { status: "live", loaded: ["channel"] }, entities: { channel: { 5: { name: "general" } } },
    log: [{ payload: { id: "1" }, position: "11-0" }],
  });
  expect(JSON.parse(JSON.stringify(state()))).toEqual(state());
  const types = new Set(news.map((n) => n.type));
  expect([...types]).toEqual(expect.arrayContaining(["guildcast/event", "guildcast/resync"]));
  const before = state();
  redux.dispatch({ type: "something else" } as never);
  expect(state()).toBe(before);
  redux.dispatch(actions.stop());
  expect(state()).toMatchObject({ guildId: null, entities: {}, log: [] });
  client.close();
});

test("commands return what the client returns, and errors are plain", async () => {
  const { node, client, news, store: redux, state } = store();
  await node.connect();
  node.elevate(3600);
  const search = actions.search({ type: "member", guild_id: "1", query: "a" });
  const found = redux.dispatch(search) as unknown as PromiseLike<PoolResult>;
  node.pool([{ id: "7", name: "ana" }]);
  expect((await found).data).toMatchObject([{ name: "ana" }]);
  const refused = redux.dispatch(actions.spectate("2")) as unknown as Promise<unknown>;
  const { _id } = node.take("spectate");
  node.say("error", { message: "not_a_member", code: 403, human: "No.", details: null, context: ["spectate"], _id });
  await expect(refused).rejects.toMatchObject({ word: "not_a_member" });
  await settled();
  expect(state().guild).toMatchObject({ status: "ended", error: { code: 403, word: "not_a_member", human: "No." } });
  node.say("error", { message: "internal", code: 500, human: "A bug.", details: null, context: ["pool"] });
  expect(news.at(-1)).toEqual({
    type: "guildcast/error", payload: { code: 500, word: "internal", human: "A bug." },
  } satisfies GuildcastNews);
  redux.dispatch(actions.reconnect());
  expect(node.retries).toBe(1);
  client.close();
});
