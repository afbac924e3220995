import type { Client, ConnectionState, SearchQuery } from "./client.js";
import type { ElevationState } from "./elevation.js";
import type { GuildcastError } from "./error.js";
import type { GuildEvent, GuildState, GuildView, SpectateOptions } from "./guild.js";
import type { LogEntry } from "./log.js";
import type { PoolQuery, PoolResult } from "./pool.js";
import type { Entities, EntityType, Id, InterpretRequest, InterpretResponse, Resync } from "./protocol.js";

/** Dispatch these; each returns what the client's method of that name does. */
export const actions = {
  spectate: (guildId: Id, options?: SpectateOptions) => command("spectate", { guildId, options }),
  stop: () => command("stop", undefined),
  load: (type: EntityType) => command("load", type),
  fetch: (type: EntityType, ids: readonly Id[]) => command("fetch", { type, ids }),
  pool: <T extends EntityType>(query: PoolQuery<T>) => command("pool", query as PoolQuery),
  search: <T extends "member" | "user">(query: SearchQuery<T>) => command("search", query as SearchQuery),
  interpret: (request: InterpretRequest) => command("interpret", request),
  demote: () => command("demote", undefined),
  reconnect: () => command("reconnect", undefined),
} as const;

function command<N extends string, P>(name: N, payload: P): { type: `guildcast/${N}`; payload: P } {
  return { type: `guildcast/${name}`, payload };
}

export type GuildcastCommand = ReturnType<(typeof actions)[keyof typeof actions]>;

/** An error as a plain object. */
export type PlainError = Pick<GuildcastError, "code" | "word" | "human">;

type Plain<T extends { error: unknown }> = Omit<T, "error"> & { readonly error: PlainError | null };
export type PlainConnection = Omit<ConnectionState, "elevation"> & { readonly elevation: Plain<ElevationState> };
export type PlainGuild = Plain<GuildState>;

/** What the middleware dispatches, for reducers. All of it can be serialised. */
export type GuildcastNews =
  | { type: "guildcast/connection"; payload: PlainConnection }
  | { type: "guildcast/guild"; payload: { guildId: Id; state: PlainGuild } }
  | { type: "guildcast/entities"; payload: EntitiesOf }
  | { type: "guildcast/log"; payload: { guildId: Id; entries: readonly LogEntry[]; total: number } }
  | { type: "guildcast/event"; payload: GuildEvent }
  | { type: "guildcast/resync"; payload: Resync }
  | { type: "guildcast/error"; payload: PlainError };

type EntitiesOf = { guildId: Id; type: EntityType; byId: { readonly [id: Id]: Entities[EntityType] } };

/** What the reducer keeps. */
export interface GuildcastState {
  readonly connection: PlainConnection | null;
  readonly guildId: Id | null;
  readonly guild: PlainGuild | null;
  readonly entities: { readonly [T in EntityType]?: { readonly [id: Id]: Entities[T] } };
  readonly log: readonly LogEntry[];
}

const initial: GuildcastState = { connection: null, guildId: null, guild: null, entities: {}, log: [] };

/** Keeps the state of the connection and of the guild that is spectated. */
export function guildcastReducer(state: GuildcastState = initial, action: { type: string }): GuildcastState {
  const news = action as GuildcastNews | GuildcastCommand;
  switch (news.type) {
    case "guildcast/spectate":
      return { ...initial, connection: state.connection, guildId: news.payload.guildId };
    case "guildcast/stop":
      return { ...initial, connection: state.connection };
    case "guildcast/connection":
      return { ...state, connection: news.payload };
  }
  switch (news.type) {
    case "guildcast/guild":
      return news.payload.guildId === state.guildId ? { ...state, guild: news.payload.state } : state;
    case "guildcast/entities": {
      const { guildId, type, byId } = news.payload;
      return guildId === state.guildId ? { ...state, entities: { ...state.entities, [type]: byId } } : state;
    }
    case "guildcast/log":
      return news.payload.guildId === state.guildId ? { ...state, log: news.payload.entries } : state;
    default:
      return state;
  }
}

interface Api {
  dispatch(action: { type: string }): unknown;
}
type Next = (action: unknown) => unknown;

const entityTypes: readonly EntityType[] = [
  "guild", "user", "member", "channel", "role", "customEmoji", "autoResponse", "settingValue",
];

export interface MiddlewareOptions {
  /** Whether each guild event becomes an action of its own, `guildcast/event`; by default none does. */
  events?: boolean;
}

/** Commands given to `dispatch` go to the client; what it knows comes back as actions. */
export function guildcastMiddleware(
  client: Client, { events = false }: MiddlewareOptions = {},
): (api: Api) => (next: Next) => Next {
  return (api) => {
    const tell = (news: GuildcastNews): void => void api.dispatch(news);
    const connection = (): void => {
      const state = client.connection.getSnapshot();
      tell({ type: "guildcast/connection", payload: { ...state, elevation: withPlainError(state.elevation) } });
    };
    client.connection.subscribe(connection);
    if (events) client.on("event", (event) => tell({ type: "guildcast/event", payload: event }));
    client.on("resync", (resync) => tell({ type: "guildcast/resync", payload: resync }));
    client.on("error", (error) => tell({ type: "guildcast/error", payload: plainError(error) }));
    queueMicrotask(connection); // the store is not ready while it is made
    const runner = new Runner(client, tell);
    return (next) => (action) => {
      const result = next(action);
      const { type } = action as { type?: unknown };
      if (typeof type !== "string" || !type.startsWith("guildcast/")) return result;
      return runner.run(action as GuildcastCommand) ?? result;
    };
  };
}

function plainError({ code, word, human }: GuildcastError): PlainError {
  return { code, word, human };
}

function withPlainError<T extends { error: GuildcastError | null }>(state: T): Plain<T> {
  return { ...state, error: state.error && plainError(state.error) };
}

/** Runs commands, and follows the view that they open. */
class Runner {
  readonly #client: Client;
  readonly #tell: (news: GuildcastNews) => void;
  #view: GuildView | null = null;
  #unfollow: (() => void)[] = [];

  constructor(client: Client, tell: (news: GuildcastNews) => void) {
    this.#client = client;
    this.#tell = tell;
  }

  run(c: GuildcastCommand): unknown {
    const client = this.#client;
    switch (c.type) {
      case "guildcast/spectate":
        this.#leave();
        this.#view = client.spectate(c.payload.guildId, c.payload.options);
        this.#follow(this.#view);
        return this.#view.ready;
      case "guildcast/stop":
        return this.#leave();
      case "guildcast/load":
        return this.#view?.load(c.payload);
      case "guildcast/fetch":
        return this.#view?.fetch(c.payload.type, c.payload.ids);
      case "guildcast/pool":
        return client.pool(c.payload);
      case "guildcast/search":
        return client.search(c.payload);
      case "guildcast/interpret":
        return client.interpret(c.payload);
      case "guildcast/demote":
        return client.demote();
      case "guildcast/reconnect":
        return client.reconnect();
    }
  }

  #leave(): void {
    for (const unfollow of this.#unfollow.splice(0)) unfollow();
    this.#view?.stop();
    this.#view = null;
  }

  #follow(view: GuildView): void {
    const { guildId } = view;
    const state = (): void =>
      this.#tell({ type: "guildcast/guild", payload: { guildId, state: withPlainError(view.state.getSnapshot()) } });
    const log = (): void => this.#tell({ type: "guildcast/log", payload: { guildId, ...view.log.getSnapshot() } });
    const entities = (type: EntityType) => (): void => {
      const byId = Object.fromEntries(view.entities.of(type).getSnapshot());
      this.#tell({ type: "guildcast/entities", payload: { guildId, type, byId } });
    };
    this.#unfollow = [
      view.state.subscribe(state), view.log.subscribe(log),
      ...entityTypes.map((type) => view.entities.of(type).subscribe(entities(type))),
    ];
    state();
  }
}

/** What `dispatch` of the commands returns, for a store that is typed so. */
export interface GuildcastDispatch {
  (action: ReturnType<typeof actions.interpret>): Promise<InterpretResponse>;
  (action: ReturnType<typeof actions.pool>): PromiseLike<PoolResult>;
  (action: ReturnType<typeof actions.search>): PromiseLike<PoolResult>;
  (action: ReturnType<typeof actions.load | typeof actions.fetch>): Promise<void> | undefined;
}
