import type { Id, RequestId, SpectateRequest } from "../protocol.js";
import type { Transport } from "../transport.js";
import type { HubOptions, Port, ToHub, ToTab } from "./messages.js";
import { Upstream, userOf, type Tab } from "./upstream.js";

/** What an upstream is wanted for. */
interface Want {
  user: string | null;
  guild: Id | null;
  logs: boolean;
}

/** Returns once the tab that holds a lock is gone. */
export type Gone = (lock: string) => Promise<void>;

/**
 * Serves all tabs of a browser with as few connections as their wishes allow: a socket has one user and spectates one
 * guild, so tabs that want the same share one.
 */
export class Hub {
  readonly #open: (options: HubOptions) => Transport;
  readonly #gone: Gone | null;
  readonly #upstreams = new Set<Upstream>();

  constructor(open: (options: HubOptions) => Transport, gone: Gone | null) {
    this.#open = open;
    this.#gone = gone;
  }

  get connections(): number {
    return this.#upstreams.size;
  }

  serve(port: Port<ToHub, ToTab>): void {
    const seat = new Seat(this, port);
    port.listen((message) => seat.take(message));
  }

  close(): void {
    for (const upstream of this.#upstreams) upstream.close();
    this.#upstreams.clear();
  }

  /** Returns the upstream that fits best, a new one if none does. */
  find(want: Want, options: HubOptions): Upstream {
    const fits = [...this.#upstreams].filter((u) => u.user === null || want.user === null || u.user === want.user);
    const same = fits.find((u) => want.guild !== null && u.guild === want.guild && u.logs === want.logs);
    const found = same ?? fits.find((u) => u.guild === null) ?? (want.guild === null ? fits[0] : undefined);
    if (found) return found;
    const upstream = new Upstream(this.#open(options));
    this.#upstreams.add(upstream);
    return upstream;
  }

  /** Takes a tab from its upstream, which ends with its last tab. */
  leave(upstream: Upstream, tab: Tab): void {
    upstream.leave(tab);
    if (upstream.tabs > 0) return;
    this.#upstreams.delete(upstream);
    upstream.close();
  }

  /** Calls end once the tab with a lock is gone. */
  watch(lock: string | null, end: () => void): void {
    if (lock !== null) this.#gone?.(lock).then(end, () => {});
  }
}

/** One tab at the hub. */
class Seat implements Tab {
  readonly #hub: Hub;
  readonly #port: Port<ToHub, ToTab>;
  #options: HubOptions | null = null;
  #upstream: Upstream | null = null;
  #user: string | null = null;
  #watched = false;

  constructor(hub: Hub, port: Port<ToHub, ToTab>) {
    this.#hub = hub;
    this.#port = port;
  }

  post(message: ToTab): void {
    this.#port.post(message);
  }

  take(message: ToHub): void {
    switch (message.is) {
      case "hello":
        this.#options = message.options;
        if (!this.#watched) this.#hub.watch(message.lock, () => this.#leave());
        this.#watched = true;
        this.#leave();
        return this.#enter({ user: this.#user, guild: null, logs: false });
      case "retry":
        return this.#upstream?.retry();
      case "bye":
        return this.#leave();
      case "send":
        return this.#send(message.event, message.payload);
    }
  }

  #send(event: string, payload: { _id?: RequestId; token?: string }): void {
    const upstream = this.#upstream;
    if (!upstream) return;
    switch (event) {
      case "request_elevation": {
        const user = this.#user = userOf(payload.token ?? "");
        if (upstream.user !== null && upstream.user !== user) return this.#move({ user, guild: null, logs: false });
        upstream.user = user;
        return upstream.elevate(this, payload.token ?? "", payload._id);
      }
      case "demote":
        return upstream.demote(this, payload._id);
      case "spectate": {
        const request = payload as SpectateRequest;
        const guild = request.guild_id === null ? null : String(request.guild_id), logs = request.include_logs ?? false;
        const fits = guild === null || upstream.free(this) || (upstream.guild === guild && upstream.logs === logs);
        return fits ? upstream.spectate(this, request) : this.#move({ user: this.#user, guild, logs });
      }
      default:
        return upstream.request(this, event, payload);
    }
  }

  /** To the tab this is a reconnect: it elevates and spectates again, over there. */
  #move(want: Want): void {
    this.#leave();
    this.post({ is: "disconnected", reason: "another connection is needed", nextTryAt: Date.now() });
    this.#enter(want);
  }

  #enter(want: Want): void {
    this.#upstream = this.#hub.find(want, this.#options!);
    this.#upstream.join(this);
  }

  #leave(): void {
    if (this.#upstream) this.#hub.leave(this.#upstream, this);
    this.#upstream = null;
  }
}
