/** The backend of a bot beside guildcast, in Node.js. README.md shows each part. */
export {
  GuildcastError, InvalidEventError, RedisRefusedError, RedisUnavailableError, RequestError,
} from "./errors.js";
export { connect, type ConnectOptions, type Redis } from "./redis.js";
export type { RetryOptions } from "./retry.js";
export type * from "./events.js";
export type { GuildId } from "./names.js";
export {
  Publisher, type DurableOptions, type Envelope, type GuildEvent, type PublisherOptions, type PublishOptions,
} from "./publisher.js";
export { script } from "./script.js";
export { Pools, type Entity, type PoolsOptions } from "./pools.js";
export { Emitter, type EmitterOptions } from "./emitter.js";
export { revoke, type RevokeOptions, type Tokens } from "./revoke.js";
export {
  Worker, type Answer, type Handlers, type RequestContext, type WorkerOptions, type WorkerStats,
} from "./worker.js";
