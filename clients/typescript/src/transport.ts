import { io, type ManagerOptions, type Socket, type SocketOptions } from "socket.io-client";
import { Backoff, type BackoffOptions } from "./backoff.js";

/** What carries events between a Client and a node. It connects by itself, again and again, until it is closed. */
export interface Transport {
  /** Begins to connect. The handlers are called later, never from within. */
  open(handlers: TransportHandlers): void;
  /** Sends an event. It is called only while connected. */
  send(event: string, payload: object): void;
  /** Tries now, if it waits for the next try or was cut. */
  retry(): void;
  /** Disconnects until retry is called. */
  cut(): void;
  close(): void;
}

export interface TransportHandlers {
  /** Returns the token to connect with, or null. */
  token(): Promise<string | null>;
  connecting(): void;
  /** `token` is the one that the handshake carried: the node answers it with `request_elevation_return`. */
  connected(info: { id: string; transport: string; token: string | null }): void;
  upgraded(transport: string): void;
  /** It is not connected (any more). `nextTryAt` is in ms since 1970, or null if nothing will be tried. */
  disconnected(reason: string, nextTryAt: number | null): void;
  event(name: string, args: unknown[]): void;
  /** Requests carry another token of the same user from now on: somebody else who uses the connection brought it. */
  renewed?(token: string): void;
}

export type IoOptions = Partial<ManagerOptions & SocketOptions>;

/** Returns the transport over a Socket.IO connection of its own. */
export function socketTransport(url: string, options: IoOptions = {}, backoff: BackoffOptions = {}): Transport {
  return new SocketTransport(url, options, backoff);
}

/** A connection that held for so many ms was a good one. */
const settled = 5_000;

/** It waits between tries itself, rather than socket.io-client, which does not tell when it will try again. */
class SocketTransport implements Transport {
  readonly #socket: Socket;
  readonly #backoff: Backoff;
  #handlers!: TransportHandlers;
  #token: string | null = null;
  #since = 0; // when it was last connected
  #timer: ReturnType<typeof setTimeout> | undefined;
  #state: "idle" | "connecting" | "connected" | "cut" | "closed" = "idle";

  constructor(url: string, options: IoOptions, backoff: BackoffOptions) {
    this.#backoff = new Backoff(backoff);
    this.#socket = io(url, {
      ...options,
      autoConnect: false, reconnection: false, forceNew: true,
      auth: (done) => void this.#auth(options.auth).then(done),
    });
  }

  open(handlers: TransportHandlers): void {
    this.#handlers = handlers;
    const socket = this.#socket;
    socket.on("connect", () => {
      this.#state = "connected";
      this.#since = Date.now();
      const engine = socket.io.engine;
      engine.once("upgrade", () => handlers.upgraded(engine.transport.name));
      handlers.connected({ id: socket.id!, transport: engine.transport.name, token: this.#token });
    });
    socket.on("disconnect", (reason) => this.#lost(reason));
    socket.on("connect_error", (e) => this.#lost(e.message));
    socket.onAny((name: string, ...args: unknown[]) => handlers.event(name, args));
    globalThis.addEventListener?.("online", this.#online);
    queueMicrotask(() => this.#connect());
  }

  send(event: string, payload: object): void {
    this.#socket.emit(event, payload);
  }

  retry(): void {
    if (this.#state === "idle" || this.#state === "cut") this.#connect();
  }

  cut(): void {
    if (this.#state === "closed") return;
    this.#stop("cut");
    this.#handlers.disconnected("io client disconnect", null);
  }

  close(): void {
    this.#stop("closed");
    this.#socket.offAny();
    globalThis.removeEventListener?.("online", this.#online);
  }

  #stop(state: "cut" | "closed"): void {
    this.#state = state;
    clearTimeout(this.#timer);
    this.#backoff.reset();
    this.#socket.disconnect();
  }

  /** Bound, for it is taken away again. A network that is back is worth a try at once. */
  readonly #online = (): void => {
    if (this.#state === "idle") this.#connect();
  };

  async #auth(more: unknown): Promise<object> {
    this.#token = await this.#handlers.token().catch(() => null);
    const auth = typeof more === "object" ? more : {};
    return this.#token === null ? { ...auth } : { ...auth, token: this.#token };
  }

  #connect(): void {
    if (this.#state === "closed") return;
    clearTimeout(this.#timer);
    this.#state = "connecting";
    this.#handlers.connecting();
    this.#socket.connect();
  }

  #lost(reason: string): void {
    if (this.#state === "cut" || this.#state === "closed") return;
    // A node that takes connections and drops them at once is as good as none.
    if (this.#state === "connected" && Date.now() - this.#since > settled) this.#backoff.reset();
    this.#state = "idle";
    this.#socket.disconnect(); // a refused namespace leaves the connection under it open
    const wait = this.#backoff.next();
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => this.#connect(), wait);
    this.#handlers.disconnected(reason, Date.now() + wait);
  }
}
