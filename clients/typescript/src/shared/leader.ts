import { socketTransport } from "../transport.js";
import { Hub } from "./hub.js";
import type { Port, ToHub, ToTab } from "./messages.js";
import type { Link } from "./tab.js";

/** What a tab uses of the browser; tests pass another. */
export interface Browser {
  locks: Pick<LockManager, "request">;
  channel(name: string): Channel;
}

interface Channel extends Pick<BroadcastChannel, "postMessage" | "close"> {
  onmessage: ((e: MessageEvent) => void) | null;
}

type Envelope =
  | { to: "hub"; from: string; message: ToHub }
  | { to: "tabs"; tab: string; message: ToTab }
  | { to: "all"; message: "up" };

/**
 * Joins tabs without a SharedWorker: one of them, which holds a lock, has the hub, and all speak over a channel. When
 * that tab ends, the lock falls to another one.
 */
export function leaderLink(browser: Browser, name: string, tab: string): Link {
  return (again) => {
    const channel = browser.channel(name);
    const ended = new AbortController();
    let listener: (message: ToTab) => void = () => {};
    channel.onmessage = ({ data }: MessageEvent<Envelope>) => {
      if (data.to === "tabs" && data.tab === tab) listener(data.message);
      else if (data.to === "all") again();
    };
    void browser.locks.request(name, { signal: ended.signal }, () => lead(browser, name, ended.signal)).catch(() => {});
    return {
      post: (message) => channel.postMessage({ to: "hub", from: tab, message } satisfies Envelope),
      listen: (l) => (listener = l),
      close: () => {
        ended.abort();
        channel.close();
      },
    };
  };
}

/** Has the hub until the signal comes. The lock is held meanwhile. */
async function lead(browser: Browser, name: string, ended: AbortSignal): Promise<void> {
  if (ended.aborted) return;
  const channel = browser.channel(name);
  const gone = (lock: string): Promise<void> => browser.locks.request(lock, { signal: ended }, () => {});
  const hub = new Hub((options) => socketTransport(options.url, options.io, options.backoff), gone);
  const listeners = new Map<string, (message: ToHub) => void>();
  channel.onmessage = ({ data }: MessageEvent<Envelope>) => {
    if (data.to !== "hub") return;
    if (!listeners.has(data.from)) hub.serve(seat(data.from));
    listeners.get(data.from)!(data.message);
  };
  const seat = (tab: string): Port<ToHub, ToTab> => ({
    post: (message) => channel.postMessage({ to: "tabs", tab, message } satisfies Envelope),
    listen: (listener) => void listeners.set(tab, listener),
    close: () => void listeners.delete(tab),
  });
  channel.postMessage({ to: "all", message: "up" } satisfies Envelope);
  await new Promise((resolve) => ended.addEventListener("abort", resolve));
  hub.close();
  channel.close();
}
