import {
  createContext, createElement, useContext, useEffect, useMemo, useRef, useState, useSyncExternalStore,
  type ReactElement, type ReactNode,
} from "react";
import type { Client, ConnectionState } from "./client.js";
import { asError, GuildcastError } from "./error.js";
import type { GuildState, GuildView, SpectateOptions } from "./guild.js";
import type { LogSnapshot } from "./log.js";
import type { Entities, EntityType, Id, User } from "./protocol.js";
import type { Readable } from "./readable.js";

const ClientContext = createContext<Client | null>(null);

/** Gives the client to the hooks below it. */
export function GuildcastProvider({ client, children }: { client: Client; children?: ReactNode }): ReactElement {
  return createElement(ClientContext.Provider, { value: client }, children);
}

export function useClient(): Client {
  const client = useContext(ClientContext);
  if (!client) throw new Error("useClient: there is no GuildcastProvider above");
  return client;
}

/** Renders again whenever something displayed changes. */
export function useReadable<T>(readable: Readable<T>): T {
  return useSyncExternalStore(readable.subscribe, readable.getSnapshot, readable.getSnapshot);
}

/** Returns the state of the connection, or the part that `select` takes: other changes do not render the component. */
export function useConnection(): ConnectionState;
export function useConnection<T>(select: (state: ConnectionState) => T): T;
export function useConnection<T>(select?: (state: ConnectionState) => T): T | ConnectionState {
  const { connection } = useClient();
  const get = (): T | ConnectionState => (select ? select(connection.getSnapshot()) : connection.getSnapshot());
  return useSyncExternalStore(connection.subscribe, get, get);
}

/**
 * Spectates a guild as long as the component is there; null spectates nothing. It spectates anew with other options. A
 * client spectates one guild at a time, so one component calls this, and passes the view down.
 */
export function useGuild(guildId: Id | null, options: SpectateOptions = {}): GuildView | null {
  const client = useClient();
  const [view, setView] = useState<GuildView | null>(null);
  const latest = useRef(options);
  latest.current = options;
  const { logs, backlog, logSize, load } = options;
  const key = JSON.stringify([logs, backlog, logSize, load]);
  useEffect(() => {
    if (guildId === null) return;
    const opened = client.spectate(guildId, latest.current);
    setView(opened);
    return () => {
      opened.stop();
      setView(null);
    };
  }, [client, guildId, key]);
  return view;
}

const nothing = <T>(snapshot: T): Readable<T> => ({ subscribe: () => () => {}, getSnapshot: () => snapshot });
const noEntities = nothing<ReadonlyMap<Id, never>>(new Map<Id, never>());
const noLog = nothing<LogSnapshot>({ entries: [], total: 0 });
const noState = nothing<GuildState>({
  status: "waiting", logs: false, permissions: 0, error: null, loaded: [], loading: [],
});

export function useGuildState(view: GuildView | null): GuildState {
  return useReadable(view?.state ?? noState);
}

/** Returns the entities of a type, by id, and loads the whole pool if `load` is not false. */
export function useEntities<T extends EntityType>(
  view: GuildView | null, type: T, { load = true }: { load?: boolean } = {},
): ReadonlyMap<Id, Entities[T]> {
  useEffect(() => {
    if (load) view?.load(type).catch(() => {}); // the view's state says it
  }, [view, type, load]);
  return useReadable<ReadonlyMap<Id, Entities[T]>>(view?.entities.of(type) ?? noEntities);
}

/** Returns one entity, which is asked for if it is not known. */
export function useEntity<T extends EntityType>(view: GuildView | null, type: T, id: Id): Entities[T] | undefined {
  useEffect(() => {
    view?.fetch(type, [id]).catch(() => {});
  }, [view, type, id]);
  const { subscribe } = view?.entities.of(type) ?? noEntities;
  const get = (): Entities[T] | undefined => view?.entities.get(type, id);
  return useSyncExternalStore(subscribe, get, get);
}

export function useLog(view: GuildView | null): LogSnapshot {
  return useReadable(view?.log ?? noLog);
}

export interface Search<T extends "member" | "user"> {
  /** Of the latest query that was answered. They stay on display while the next one is on its way. */
  readonly results: readonly Entities[T][];
  readonly users: ReadonlyMap<Id, User>;
  readonly pending: boolean;
  readonly error: GuildcastError | null;
}

interface SearchOptions<T extends "member" | "user"> {
  type: T;
  query: string;
  guild_id?: Id;
  limit?: number;
  /** Wait for this long, in ms, after each change of the query; default 100. */
  delay?: number;
}

/** Searches as the user types: what a later query supersedes is given up. An empty query has no results. */
export function useSearch<T extends "member" | "user">(options: SearchOptions<T>): Search<T> {
  const client = useClient();
  const { type, guild_id, limit, delay = 100 } = options;
  const query = options.query.trim();
  const empty = useMemo<Search<T>>(() => ({ results: [], users: new Map(), pending: false, error: null }), []);
  const [search, setSearch] = useState(empty);
  useEffect(() => {
    if (query === "") return setSearch(empty);
    const own = new AbortController();
    setSearch((before) => ({ ...before, pending: true }));
    const timer = setTimeout(() => {
      client.pool({ type, guild_id, limit, query, request: "search" }, { signal: own.signal }).then(
        ({ data, users }) => setSearch({ results: data, users, pending: false, error: null }),
        (e: unknown) => {
          if (!own.signal.aborted) setSearch({ ...empty, error: asError(e) });
        },
      );
    }, delay);
    return () => {
      clearTimeout(timer);
      own.abort();
    };
  }, [client, type, query, guild_id, limit, delay, empty]);
  return search;
}
