import type { BackoffOptions } from "../backoff.js";
import type { IoOptions } from "../transport.js";

/** How the hub of a browser connects. It is the same for all tabs of a name. */
export interface HubOptions {
  url: string;
  io?: IoOptions;
  backoff?: BackoffOptions;
}

/** From a tab to the hub. */
export type ToHub =
  /** The first message. The tab holds the Web Lock of that name, if there are Web Locks, as long as it lives. */
  | { is: "hello"; options: HubOptions; lock: string | null }
  | { is: "send"; event: string; payload: object }
  | { is: "retry" }
  /** The tab wants nothing until it says hello again. */
  | { is: "bye" };

/** From the hub to a tab: what a transport tells. */
export type ToTab =
  | { is: "connecting" }
  | { is: "connected"; id: string; transport: string }
  | { is: "upgraded"; transport: string }
  | { is: "disconnected"; reason: string; nextTryAt: number | null }
  | { is: "event"; name: string; args: unknown[] }
  /** Another tab has brought a newer token of the same user. */
  | { is: "renewed"; token: string };

/** One end of what joins a tab and the hub. */
export interface Port<In, Out> {
  post(message: Out): void;
  listen(listener: (message: In) => void): void;
  close(): void;
}

/** Returns a Port over a MessagePort. */
export function messagePort<In, Out>(port: MessagePort): Port<In, Out> {
  return {
    post: (message) => port.postMessage(message),
    listen: (listener) => {
      port.onmessage = ({ data }) => listener(data as In);
    },
    close: () => port.close(),
  };
}
