import { connect, type Client, type ConnectOptions } from "./client.js";
import { leaderLink } from "./shared/leader.js";
import { messagePort, type HubOptions, type ToHub, type ToTab } from "./shared/messages.js";
import { hold, TabTransport, type Link } from "./shared/tab.js";
import { socketTransport, type Transport } from "./transport.js";

/** Where the connection of all tabs is: in a SharedWorker, in one of the tabs, or there is one in each. */
export type SharedMode = "worker" | "leader" | "alone";

export interface SharedOptions extends Omit<ConnectOptions, "transport"> {
  /** Tabs share the connection of the same URL and key; default "". */
  key?: string;
  /** By default the first that this browser has: `worker`, `leader`, `alone`. */
  mode?: SharedMode;
  /**
   * Makes the SharedWorker, for bundlers that need to see that: `new SharedWorker(new URL("@guildcast/client/worker",
   * import.meta.url), { type: "module", name })`.
   */
  worker?: (name: string) => SharedWorker;
}

/**
 * Connects like `connect`, with one connection for all tabs of this browser that are of one origin. Each tab has its
 * own client, state and tokens; tabs of another user, or of another guild, cost a connection more.
 */
export function connectShared(url: string, options: SharedOptions = {}): Client {
  const absolute = new URL(url, globalThis.location?.href).href;
  return connect(absolute, { ...options, transport: transport(absolute, options) });
}

/** Reports how connectShared connects in this browser. */
export function sharedMode(): SharedMode {
  if (typeof SharedWorker === "function") return "worker";
  return globalThis.navigator?.locks && typeof BroadcastChannel === "function" ? "leader" : "alone";
}

function transport(url: string, { key = "", mode = sharedMode(), worker, io, backoff }: SharedOptions): Transport {
  if (mode === "alone") return socketTransport(url, io, backoff);
  const name = `guildcast ${url} ${key}`;
  const hub: HubOptions = { url, io, backoff };
  const tab = `${name} ${crypto.randomUUID?.() ?? Math.random()}`;
  const locks = globalThis.navigator?.locks;
  const leader = locks && leaderLink({ locks, channel: (channel) => new BroadcastChannel(channel) }, name, tab);
  const link = mode === "worker" ? workerLink(name, worker ?? ourWorker, leader) : leader;
  if (!link) return socketTransport(url, io, backoff);
  const shared = new TabTransport(link, hub, locks ? hold(locks, tab) : null);
  globalThis.addEventListener?.("pagehide", (e) => {
    if (!e.persisted) shared.close();
  });
  return shared;
}

function ourWorker(name: string): SharedWorker {
  return new SharedWorker(new URL("./worker.js", import.meta.url), { type: "module", name });
}

/** How long a SharedWorker may take to say something, in ms. The hub in it greets each tab. */
const workerPatience = 10_000;

/**
 * Joins a tab and the hub in a SharedWorker. If its script does not load, or says nothing, another link takes its
 * place, until the worker says something after all: other tabs have not given it up, and all should share.
 */
function workerLink(name: string, make: (name: string) => SharedWorker, otherwise: Link | undefined): Link {
  return (again) => {
    let listener: (message: ToTab) => void = () => {};
    const worker = make(name);
    const first = messagePort<ToTab, ToHub>(worker.port);
    let port = first, heard = false;
    const change = (next: ReturnType<Link>): void => {
      port.post({ is: "bye" });
      if (port !== first) port.close();
      port = next;
      port.listen((message) => listener(message));
      again();
    };
    const fail = (): void => {
      if (!heard && port === first && otherwise) change(otherwise(again));
    };
    const late = setTimeout(fail, workerPatience);
    worker.onerror = fail;
    first.listen((message) => {
      heard = true;
      if (port === first) return listener(message);
      first.close();
      change(messagePort(make(name).port)); // on which nothing of before is under way
    });
    return {
      post: (message) => port.post(message), listen: (l) => (listener = l),
      close: () => {
        clearTimeout(late);
        port.close();
        first.close();
      },
    };
  };
}
