// @vitest-environment jsdom
import { act, createElement, StrictMode, useState, type ReactElement } from "react";
import { createRoot } from "react-dom/client";
import { afterEach, beforeEach, expect, test, vi } from "vitest";
import {
  GuildcastProvider, useClient, useConnection, useEntities, useEntity, useGuild, useGuildState, useLog, useSearch,
} from "../src/react.js";
import { fake, settled, type FakeNode } from "./fake.js";

(globalThis as { IS_REACT_ACT_ENVIRONMENT?: boolean }).IS_REACT_ACT_ENVIRONMENT = true;

let node: FakeNode;
let root: ReturnType<typeof createRoot>;
let page: HTMLElement;

function show(element: ReactElement, strict = false): void {
  const made = fake();
  node = made.node;
  page = document.body.appendChild(document.createElement("main"));
  root = createRoot(page);
  const inner = createElement(GuildcastProvider, { client: made.client }, element);
  act(() => root.render(strict ? createElement(StrictMode, null, inner) : inner));
}

async function connected(): Promise<void> {
  await act(async () => {
    await node.connect();
    node.elevate(3600);
    await settled();
  });
}

beforeEach(() => void vi.useFakeTimers());
afterEach(() => {
  act(() => root.unmount());
  page.remove();
  vi.useRealTimers();
});

function Guild(): ReactElement {
  const status = useConnection((state) => state.status);
  const view = useGuild("1", { backlog: 10 });
  const state = useGuildState(view);
  const channels = useEntities(view, "channel");
  const ana = useEntity(view, "user", "7");
  const { entries } = useLog(view);
  return createElement("p", null, [
    status, state.status, [...channels.values()].map((c) => c.name).join(), ana?.username ?? "?",
    entries.map((e) => e.payload.id).join(),
  ].join(" | "));
}

test.each([false, true])("shows a guild (strict mode: %s)", async (strict) => {
  show(createElement(Guild), strict);
  expect(page.textContent).toBe("connecting | waiting |  | ? | ");
  await connected();
  await act(async () => {
    node.spectating();
    await settled();
  });
  await act(async () => {
    expect(node.pool([{ id: "5", name: "general" }])).toMatchObject({ type: "channel", guild_id: "1", request: "all" });
    expect(node.pool([{ id: "7", username: "ana" }])).toMatchObject({ type: "user", ids: ["7"] });
    node.say("log_other", { id: "1", action_number: 3001 }, "11-0");
    await settled();
  });
  expect(page.textContent).toBe("connected | live | general | ana | 1");
  await act(async () => {
    const data = [{ id: "6", name: "random" }];
    node.say("log_pool", { type: "channel", guild_id: "1", data, nonexistent: ["5"] }, "12-0");
    await settled();
  });
  expect(page.textContent).toBe("connected | live | random | ana | 1");
  await act(async () => {
    node.handlers.disconnected("transport close", 0);
    await settled();
  });
  expect(page.textContent).toBe("waiting | waiting | random | ana | 1");
});

test("stops spectating with its component", async () => {
  let leave = (): void => {};
  function Page(): ReactElement {
    const [shown, setShown] = useState(true);
    leave = () => setShown(false);
    const spectating = useConnection((s) => s.spectating?.guildId ?? "nothing");
    return createElement("div", null, spectating, shown && createElement(Guild));
  }
  show(createElement(Page));
  await connected();
  await act(async () => {
    node.spectating();
    await settled();
  });
  expect(page.textContent).toMatch(/^1/);
  await act(async () => {
    leave();
    await settled();
  });
  expect(node.take("spectate")).toMatchObject({ guild_id: null });
  expect(page.textContent).toBe("nothing");
});

test("searches as the user types", async () => {
  let type = (_query: string): void => {};
  function Names(): ReactElement {
    const [query, setQuery] = useState("");
    type = setQuery;
    const { results, pending, error } = useSearch({ type: "member", guild_id: "1", query, delay: 100 });
    return createElement("p", null, `${results.map((m) => m.name).join()} ${pending} ${error?.word ?? ""}`);
  }
  show(createElement(Names));
  await connected();
  const later = (ms: number): Promise<void> => act(async () => void (await vi.advanceTimersByTimeAsync(ms)));
  act(() => type("a"));
  await later(50);
  act(() => type("an"));
  await later(100);
  expect(node.sent.length).toBe(1);
  const first = node.take("pool");
  expect(first).toMatchObject({ request: "search", query: "an", guild_id: "1" });
  act(() => type("ana"));
  await later(100);
  await act(async () => {
    node.pool([{ id: "1", name: "ana" }]);
    await settled();
  });
  expect(page.textContent).toBe("ana false ");
  // The answer to what was given up comes late.
  await act(async () => {
    const { _id } = first;
    const data = [{ id: "2", name: "anton" }];
    node.say("pool_response", { _id, type: "member", guild_id: "1", data, nonexistent: [], finished: true });
    await settled();
  });
  expect(page.textContent).toBe("ana false ");
  act(() => type("an"));
  expect(page.textContent).toBe("ana true "); // stays until there is an answer
  await later(100);
  await act(async () => {
    node.fail("rate_limited", 429, node.take("pool")._id);
    await settled();
  });
  expect(page.textContent).toBe(" false rate_limited");
  act(() => type(""));
  expect(page.textContent).toBe(" false ");
});

test("says what is missing without a provider", () => {
  function Lost(): ReactElement {
    useClient();
    return createElement("p");
  }
  page = document.body.appendChild(document.createElement("main"));
  root = createRoot(page, { onUncaughtError: () => {} });
  expect(() => act(() => root.render(createElement(Lost)))).toThrow(/GuildcastProvider/);
});
