export {
  connect, type Client, type ClientEvents, type ConnectionState, type ConnectOptions, type Counts, type SearchQuery,
  type SpectatingState,
} from "./client.js";
export type { BackoffOptions } from "./backoff.js";
export type { ElevationState, TokenSource } from "./elevation.js";
export { GuildcastError, type LocalWord } from "./error.js";
export { readChanges, type GuildEvent, type GuildState, type GuildView, type SpectateOptions } from "./guild.js";
export { Log, type EventLog, type LogEntry, type LogSnapshot } from "./log.js";
export { can, permissionNames, permissions, type Permission } from "./permissions.js";
export { PoolAnswer, type PoolPart, type PoolQuery, type PoolResult } from "./pool.js";
export { comparePositions } from "./position.js";
export type * from "./protocol.js";
export { Notifier, Source, type Batch, type Readable } from "./readable.js";
export type { RequestOptions } from "./requests.js";
export { Reading, Store, type Change, type EntityStore } from "./store.js";
export { socketTransport, type IoOptions, type Transport, type TransportHandlers } from "./transport.js";
