import type { BackoffOptions } from "./backoff.js";
import { Elevation, type ElevationState, type TokenSource } from "./elevation.js";
import { Emitter } from "./emitter.js";
import { GuildcastError, localError } from "./error.js";
import { Guild, type GuildEvent, type GuildHost, type GuildView, type SpectateOptions } from "./guild.js";
import { PoolAnswer, type PoolQuery } from "./pool.js";
import type {
  Elevated, ElevationExpired, ElevationReturn, EntityType, ErrorPayload, Id, InterpretRequest, InterpretResponse,
  PoolResponse, Position, RequestId, Resync, SpectatingWithPositions,
} from "./protocol.js";
import { Notifier, Source, type Batch, type Readable } from "./readable.js";
import { Requests, type RequestOptions } from "./requests.js";
import { socketTransport, type IoOptions, type Transport } from "./transport.js";

export interface ConnectOptions {
  /** Asked for a token when one is needed: at first, before the one at hand expires, and when a node refuses it. */
  getToken?: TokenSource;
  /** How long before its end a token is replaced, in ms; default 60,000. */
  refreshBefore?: number;
  /** The longest wait for an answer, or for its next part, in ms; default 15,000. */
  requestTimeout?: number;
  /** The waits between tries to connect. */
  backoff?: BackoffOptions;
  /** Over how many ms the reloads after a `resync` are spread; default 1,000. */
  resyncJitter?: number;
  /** When those who subscribe hear of changes: in a microtask by default; `requestAnimationFrame` fits a page. */
  batch?: Batch;
  /** Options of socket.io-client, such as `path` and `transports`. */
  io?: IoOptions;
  /** What carries the events, in place of a Socket.IO connection of its own. */
  transport?: Transport;
}

export interface ConnectionState {
  /** `waiting`: not connected; the next try is at `nextTryAt`, or after `reconnect` if that is null. */
  readonly status: "connecting" | "connected" | "waiting" | "closed";
  /** In ms since 1970. */
  readonly nextTryAt: number | null;
  /** Tries since it was last connected. */
  readonly attempt: number;
  /** Why it is not connected, in Socket.IO's words. */
  readonly reason: string | null;
  /** `websocket`, `polling` or `webtransport`; null while there is no connection. */
  readonly transport: string | null;
  /** The socket's id; null while there is no connection. */
  readonly id: string | null;
  readonly elevation: ElevationState;
  readonly spectating: SpectatingState | null;
  readonly counts: Counts;
}

export interface SpectatingState {
  readonly guildId: Id;
  readonly logs: boolean;
  readonly permissions: number;
  /** From where a later connection goes on; null without a history. */
  readonly position: Position | null;
  /** Whether events come. */
  readonly live: boolean;
}

export interface Counts {
  readonly connects: number;
  readonly resyncs: number;
  /** Connections that went on where the one before had ended: nothing was missed. */
  readonly replays: number;
  /** Events from before this client spectated, or from while it was away. */
  readonly replayed: number;
  /** Connections that could not go on: something may be missing. */
  readonly gaps: number;
  /** Live events. */
  readonly events: number;
  /** Events that came a second time, and were dropped. */
  readonly doubles: number;
}

export interface ClientEvents {
  /** An event of the guild that is spectated. */
  event: [event: GuildEvent];
  /** Events may be missing; views reload by themselves. `not_recovered`: a new connection could not go on. */
  resync: [resync: Resync];
  elevated: [answer: Elevated];
  expired: [reason: ElevationExpired["reason"]];
  /** An error that belongs to no request. */
  error: [error: GuildcastError];
  /** Everything that a node sends, as it came. */
  message: [name: string, args: readonly unknown[]];
}

export interface SearchQuery<T extends "member" | "user" = "member" | "user"> {
  type: T;
  query: string;
  guild_id?: Id;
  limit?: number;
}

/** A connection to guildcast that keeps itself: connected, elevated, and spectating. */
export interface Client {
  readonly connection: Readable<ConnectionState>;
  /** Returns what takes the listener away. */
  on<E extends keyof ClientEvents>(event: E, listener: (...args: ClientEvents[E]) => void): () => void;
  /** Spectates a guild until the view is stopped, over reconnects. A client has one at a time: the former one ends. */
  spectate(guildId: Id, options?: SpectateOptions): GuildView;
  /** Asks for entities. It waits for the connection and the elevation. */
  pool<T extends EntityType>(query: PoolQuery<T>, options?: RequestOptions): PoolAnswer<T>;
  /** Searches, and gives up the former search of the same `key` (by default the type), which rejects: `superseded`. */
  search<T extends "member" | "user">(
    query: SearchQuery<T>, options?: RequestOptions & { key?: string },
  ): PoolAnswer<T>;
  /** Asks the mock of a chat. */
  interpret(request: InterpretRequest, options?: RequestOptions): Promise<InterpretResponse>;
  /** Elevates with tokens of this source from now on; those of another user end what the former could see. */
  elevate(getToken?: TokenSource): Promise<Elevated>;
  /** Gives the elevation up: no token is asked for until `elevate`. */
  demote(): Promise<void>;
  /** Tries to connect now. */
  reconnect(): void;
  /** Disconnects until `reconnect`. What comes meanwhile is replayed then. */
  disconnect(): void;
  /** Ends everything. */
  close(): void;
}

/** Connects to a guildcast node or cluster. */
export function connect(url: string, options: ConnectOptions = {}): Client {
  return new Connection(options.transport ?? socketTransport(url, options.io, options.backoff), options);
}

/** Events that are answers or news of the node: all others are events of a guild. */
const ownEvents: ReadonlySet<string> = new Set([
  "request_elevation_return", "spectate_return", "pool_response", "interpret_response", "error", "resync",
  "elevation_expiring", "elevation_expired",
]);

const noCounts: Counts = { connects: 0, resyncs: 0, replays: 0, replayed: 0, gaps: 0, events: 0, doubles: 0 };

type Link = Pick<ConnectionState, "status" | "nextTryAt" | "attempt" | "reason" | "transport" | "id">;

class Connection implements Client {
  readonly connection: Source<ConnectionState>;
  readonly #transport: Transport;
  readonly #events = new Emitter<ClientEvents>();
  readonly #requests: Requests;
  readonly #elevation: Elevation;
  readonly #notifier: Notifier;
  readonly #host: GuildHost;
  readonly #searches = new Map<string, AbortController>();
  #link: Link = { status: "connecting", nextTryAt: null, attempt: 0, reason: null, transport: null, id: null };
  #counts = { ...noCounts };
  #guild: Guild | null = null; // that is wanted
  #sitting: Guild | null = null; // whose events the node sends
  #userId: Id | null = null; // whose data the view holds

  constructor(transport: Transport, options: ConnectOptions) {
    const timeout = options.requestTimeout ?? 15_000;
    this.#transport = transport;
    this.#notifier = new Notifier(options.batch);
    this.#requests = new Requests((event, payload) => transport.send(event, this.#stamped(payload)), timeout);
    this.#elevation = new Elevation({
      request: (token) => this.#requestElevation(token),
      connected: () => this.#link.status === "connected",
      changed: () => this.connection?.changed(),
      elevated: (answer) => this.#elevated(answer),
      failed: (error) => this.#notElevated(error),
    }, options.getToken ?? null, options.refreshBefore ?? 60_000, timeout);
    this.connection = new Source(this.#notifier, () => this.#snapshot());
    this.#host = this.#guildHost(options.resyncJitter ?? 1_000);
    transport.open({
      token: () => this.#elevation.handshake(),
      connecting: () => this.#setLink({ status: "connecting", nextTryAt: null, attempt: this.#link.attempt + 1 }),
      connected: ({ id, transport: name, token }) => this.#connected(id, name, token),
      upgraded: (name) => this.#setLink({ transport: name }),
      disconnected: (reason, nextTryAt) => this.#disconnected(reason, nextTryAt),
      event: (name, args) => this.#received(name, args),
      renewed: (token) => void (this.#elevation.token = token),
    });
  }

  on<E extends keyof ClientEvents>(event: E, listener: (...args: ClientEvents[E]) => void): () => void {
    return this.#events.on(event, listener);
  }

  spectate(guildId: Id, options: SpectateOptions = {}): GuildView {
    const former = this.#guild;
    const guild = new Guild(this.#host, guildId, options);
    this.#guild = guild;
    this.#sitting = null;
    former?.stop();
    const { status, error } = this.#elevation.state;
    if (this.#link.status === "closed") guild.end(this.#closedError("spectate"));
    else if (status === "elevated") guild.resume();
    else if (status === "failed") guild.end(error);
    this.connection.changed();
    return guild;
  }

  pool<T extends EntityType>(query: PoolQuery<T>, options: RequestOptions = {}): PoolAnswer<T> {
    return new PoolAnswer(query.type, (part, signal) => this.#pool({ positions: true, ...query }, part, {
      ...options, signal: anySignal(options.signal, signal),
    }));
  }

  search<T extends "member" | "user">(
    query: SearchQuery<T>, options: RequestOptions & { key?: string } = {},
  ): PoolAnswer<T> {
    const { key = query.type, ...rest } = options;
    this.#searches.get(key)?.abort(localError("superseded", "A later search took its place.", ["pool"]));
    const own = new AbortController();
    this.#searches.set(key, own);
    return this.pool({ ...query, request: "search" }, { ...rest, signal: anySignal(rest.signal, own.signal) });
  }

  async interpret(request: InterpretRequest, options: RequestOptions = {}): Promise<InterpretResponse> {
    let answer: InterpretResponse | undefined;
    await this.#call("interpret", request, "connection", (name, payload) => {
      answer = payload as InterpretResponse;
      return name === "interpret_response";
    }, options);
    return answer!;
  }

  elevate(getToken: TokenSource | null = null): Promise<Elevated> {
    return this.#elevation.elevate(getToken);
  }

  async demote(): Promise<void> {
    if (this.#link.status === "connected" && this.#elevation.state.status === "elevated") {
      await this.#call("demote", {}, "elevation", (name) => name === "elevation_expired");
    }
    this.#elevation.end();
    this.#forget();
  }

  reconnect(): void {
    this.#transport.retry();
  }

  disconnect(): void {
    this.#transport.cut();
  }

  close(): void {
    if (this.#link.status === "closed") return;
    this.#transport.close();
    this.#setLink({ status: "closed", nextTryAt: null, transport: null, id: null });
    this.#elevation.close();
    this.#requests.disconnected("the client was closed");
    this.#requests.fail("connection", (event) => this.#closedError(event));
    this.#guild?.end(null);
  }

  #connected(id: string, transport: string, token: string | null): void {
    this.#counts.connects++;
    this.#setLink({ status: "connected", nextTryAt: null, attempt: 0, reason: null, transport, id });
    this.#requests.ready("connection");
    this.#elevation.connected(token);
  }

  #disconnected(reason: string, nextTryAt: number | null): void {
    this.#setLink({ status: "waiting", nextTryAt, reason, transport: null, id: null });
    this.#unseat();
    this.#elevation.disconnected();
    this.#requests.disconnected(reason);
  }

  /** Takes everything that comes, in order. */
  #received(name: string, args: unknown[]): void {
    this.#events.emit("message", name, args);
    if (!ownEvents.has(name)) {
      this.#sitting?.event(name, args[0], (args[1] ?? null) as Position | null);
      return;
    }
    const payload = args[0] as { _id?: RequestId };
    if (this.#requests.answered(name, payload)) {
      if (name === "elevation_expired") this.#expired((payload as ElevationExpired).reason);
      return;
    }
    switch (name) {
      case "request_elevation_return":
        if (payload._id === undefined) this.#elevation.answered(payload as ElevationReturn);
        break;
      case "elevation_expiring":
        this.#elevation.expiring();
        break;
      case "elevation_expired":
        this.#expired((payload as ElevationExpired).reason);
        break;
      case "resync":
        this.#resync(payload as Resync);
        break;
      case "error":
        this.#failed(new GuildcastError(payload as ErrorPayload), payload._id);
    }
  }

  #resync(resync: Resync): void {
    this.#counts.resyncs++;
    this.connection.changed();
    if (this.#sitting?.guildId === resync.guild_id) this.#sitting.resync();
    this.#events.emit("resync", resync);
  }

  #failed(error: GuildcastError, id: RequestId | undefined): void {
    const [event, guildId] = error.context;
    if (event === "spectate" && guildId !== undefined && this.#sitting?.guildId === guildId) {
      this.#sitting.refused(error);
    } else if (id === undefined) {
      this.#events.emit("error", error);
    }
  }

  #elevated(answer: Elevated): void {
    if (this.#userId !== null && this.#userId !== answer.user_id) {
      this.#unseat();
      this.#guild?.forget();
    }
    this.#userId = answer.user_id;
    this.#requests.ready("elevation");
    if (this.#sitting && this.#sitting === this.#guild) this.#guild.refreshed();
    else this.#guild?.resume();
    this.#events.emit("elevated", answer);
  }

  #expired(reason: ElevationExpired["reason"]): void {
    this.#unseat();
    this.#requests.ready("connection");
    this.#elevation.expired(reason);
    // A token that merely expired is soon replaced: until then what is shown may stay.
    if (reason !== "expired" || this.#elevation.state.status === "none") this.#forget();
    this.#events.emit("expired", reason);
  }

  /** There will be no elevation: what needs one fails, and what it showed is gone. */
  #notElevated(error: GuildcastError): void {
    this.#requests.fail("elevation", () => error);
    this.#forget();
    this.#events.emit("error", error);
  }

  #forget(): void {
    this.#userId = null;
    this.#guild?.forget();
  }

  /** The node sends no guild events any more. */
  #unseat(): void {
    this.#sitting = null;
    this.#guild?.pause();
  }

  #call(
    event: string, payload: object, needs: "connection" | "elevation",
    answer: (name: string, payload: unknown) => boolean, options?: RequestOptions,
  ): Promise<void> {
    if (this.#link.status === "closed") return Promise.reject(this.#closedError(event));
    const { status, error } = this.#elevation.state;
    if (needs === "elevation" && (status === "none" || status === "failed")) {
      return Promise.reject(error ?? new GuildcastError({
        message: "not_elevated", code: 409, human: "Nobody is logged in.", context: [event], local: true,
      }));
    }
    return this.#requests.call(event, payload, needs, answer, options);
  }

  #pool(query: object, part: (part: PoolResponse) => void, options?: RequestOptions): Promise<void> {
    return this.#call("pool", query, "elevation", (name, payload) => {
      const answer = payload as PoolResponse;
      if (name === "pool_response") part(answer);
      return answer.finished;
    }, options);
  }

  async #requestElevation(token: string): Promise<ElevationReturn> {
    let answer: ElevationReturn | undefined;
    await this.#requests.call("request_elevation", { token }, "connection", (name, payload) => {
      answer = payload as ElevationReturn;
      return name === "request_elevation_return";
    });
    return answer!;
  }

  /** Puts the token of now into a request, unless it has one. */
  #stamped(payload: object): object {
    const { token } = this.#elevation;
    return token === null ? payload : { token, ...payload };
  }

  #closedError(event: string): GuildcastError {
    return localError("closed", "The client was closed.", [event]);
  }

  #guildHost(resyncJitter: number): GuildHost {
    return {
      notifier: this.#notifier,
      resyncJitter,
      spectate: (view, payload, answer) => this.#call("spectate", payload, "elevation", (name, body) => {
        if (name !== "spectate_return") return false;
        this.#sitting = view === this.#guild ? view : null;
        if (this.#sitting) answer(body as SpectatingWithPositions);
        return true;
      }),
      pool: (query, part) => this.#pool(query, part),
      bits: (guildId) => {
        const { guilds, architusAdmin } = this.#elevation.state;
        if (architusAdmin) return Number.MAX_SAFE_INTEGER;
        return guilds === null ? null : guilds[guildId] ?? 0;
      },
      changed: () => this.connection.changed(),
      count: (what) => {
        this.#counts[what]++;
        this.connection.changed();
      },
      emit: (event) => this.#events.emit("event", event),
      gap: (view) => this.#events.emit("resync", { guild_id: view.guildId, reason: "not_recovered" }),
      ended: (view) => this.#ended(view),
    };
  }

  #ended(view: Guild): void {
    if (this.#guild !== view) return; // another took its place
    this.#guild = null;
    if (this.#sitting === view) {
      this.#sitting = null;
      // Without a connection there is nothing to end.
      this.#call("spectate", { guild_id: null }, "elevation", (name) => name === "spectate_return").catch(() => {});
    }
    this.connection.changed();
  }

  #setLink(link: Partial<Link>): void {
    this.#link = { ...this.#link, ...link };
    this.connection.changed();
  }

  #snapshot(): ConnectionState {
    const view = this.#guild;
    return {
      ...this.#link,
      elevation: this.#elevation.state,
      spectating: view && {
        guildId: view.guildId, logs: view.logs, permissions: view.permissions ?? 0, position: view.position,
        live: view.live,
      },
      counts: { ...this.#counts },
    };
  }
}

/** Returns a signal that is aborted with the first of these. (AbortSignal.any is not in every browser yet.) */
function anySignal(...signals: (AbortSignal | undefined)[]): AbortSignal | undefined {
  const given = signals.filter((s) => s !== undefined);
  if (given.length <= 1) return given[0];
  const any = new AbortController();
  for (const signal of given) {
    if (signal.aborted) any.abort(signal.reason);
    else signal.addEventListener("abort", () => any.abort(signal.reason), { once: true });
  }
  return any.signal;
}
