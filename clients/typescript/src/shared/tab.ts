import type { Transport, TransportHandlers } from "../transport.js";
import type { HubOptions, Port, ToHub, ToTab } from "./messages.js";

/** Joins a tab and the hub. `again` is called if another hub has taken over. */
export type Link = (again: () => void) => Port<ToTab, ToHub>;

/** A Web Lock that a tab holds as long as it uses the hub, which hears so that it is gone, however it goes. */
export interface Held {
  name: string;
  /** Fulfilled once it is held. Before that the hub would take the tab for gone. */
  held: Promise<void>;
  release(): void;
}

/** Takes a lock that nobody else wants before this tab is known. */
export function hold(locks: Pick<LockManager, "request">, name: string): Held {
  let release = (): void => {};
  const released = new Promise<void>((resolve) => (release = resolve));
  const held = new Promise<void>((resolve) => {
    void locks.request(name, () => {
      resolve();
      return released;
    });
  });
  return { name, held, release };
}

/** The transport of a tab: the connection is the hub's. */
export class TabTransport implements Transport {
  readonly #link: Link;
  readonly #options: HubOptions;
  readonly #lock: Held | null;
  #handlers!: TransportHandlers;
  #port: Port<ToTab, ToHub> | null = null;
  #state: "idle" | "connected" | "cut" | "closed" = "idle";
  #token: Promise<string | null> | null = null; // for the connection to come
  #round = 0;

  constructor(link: Link, options: HubOptions, lock: Held | null) {
    this.#link = link;
    this.#options = options;
    this.#lock = lock;
  }

  open(handlers: TransportHandlers): void {
    this.#handlers = handlers;
    void (this.#lock?.held ?? Promise.resolve()).then(() => {
      if (this.#state === "closed") return;
      this.#port = this.#link(() => this.#again());
      this.#port.listen((message) => void this.#take(message));
      this.#hello();
    });
  }

  send(event: string, payload: object): void {
    this.#port?.post({ is: "send", event, payload });
  }

  retry(): void {
    if (this.#state === "cut") {
      this.#state = "idle";
      this.#hello();
    } else if (this.#state === "idle") {
      this.#port?.post({ is: "retry" });
    }
  }

  cut(): void {
    if (this.#state === "closed" || this.#state === "cut") return;
    this.#leave("cut");
    this.#handlers.disconnected("io client disconnect", null);
  }

  close(): void {
    this.#leave("closed");
    this.#port?.close();
    this.#lock?.release();
  }

  #leave(state: "cut" | "closed"): void {
    this.#state = state;
    this.#round++;
    this.#port?.post({ is: "bye" });
  }

  #hello(): void {
    this.#handlers.connecting();
    this.#port?.post({ is: "hello", options: this.#options, lock: this.#lock?.name ?? null });
  }

  /** Another hub has taken over. */
  #again(): void {
    if (this.#state === "cut" || this.#state === "closed") return;
    this.#lost("another tab has taken over", Date.now());
    this.#hello();
  }

  async #take(message: ToTab): Promise<void> {
    if (this.#state === "cut" || this.#state === "closed") return;
    const handlers = this.#handlers;
    switch (message.is) {
      case "connecting":
        this.#token ??= handlers.token();
        return handlers.connecting();
      case "connected": {
        const round = ++this.#round;
        const token = await (this.#token ?? handlers.token()).catch(() => null);
        this.#token = null;
        if (round !== this.#round) return;
        this.#state = "connected";
        handlers.connected({ id: message.id, transport: message.transport, token });
        if (token !== null) this.send("request_elevation", { token });
        return;
      }
      case "upgraded":
        return handlers.upgraded(message.transport);
      case "disconnected":
        return this.#lost(message.reason, message.nextTryAt);
      case "renewed":
        return handlers.renewed?.(message.token);
      case "event":
        if (this.#state === "connected") handlers.event(message.name, message.args);
    }
  }

  #lost(reason: string, nextTryAt: number | null): void {
    this.#round++;
    this.#state = "idle";
    this.#token = null;
    this.#handlers.disconnected(reason, nextTryAt);
  }
}
