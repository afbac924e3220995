// Code generated from schemas/source by `go generate ./schemas`. DO NOT EDIT.

/** A Snowflake or HoarFrost id. */
export type Id = string;

/** An id as a client may send it. A number from 2^53 on is refused, since JavaScript has rounded it. */
export type InputId = Id | number;

/** A name for a request, of at most 256 bytes. Each answer to the request repeats it. */
export type RequestId = string | number;

/** The position of a durable event in the history of its guild. */
export type Position = string;

/** Permission bits in a guild. An administrator has every bit, 2^53-1. */
export type PermissionBits = number;

/** Seconds since 1970. */
export type UnixSeconds = number;

/** A JWT, with or without "Bearer " before it. Required unless the operator made it optional. */
export type Token = string | null;

/** Follows HTTP. */
export type ErrorCode = number;

/** The words of a node's errors. A worker may answer with words of its own. */
export type ErrorWord =
  | "malformed"
  | "token_missing"
  | "token_invalid"
  | "token_expired"
  | "token_not_yet_valid"
  | "token_revoked"
  | "token_of_other_user"
  | "keys_unavailable"
  | "revocations_unavailable"
  | "not_a_member"
  | "permission_missing"
  | "unknown_event"
  | "not_elevated"
  | "demoted"
  | "payload_too_large"
  | "rate_limited"
  | "too_many_requests"
  | "internal"
  | "redis_unavailable"
  | "backend_unavailable"
  | "backend_failed"
  | "backend_busy"
  | "backend_answer_too_large"
  | "backend_timeout";

/** The types of entities, which are the types of pools. */
export type EntityType =
  | "member"
  | "channel"
  | "role"
  | "autoResponse"
  | "settingValue"
  | "user"
  | "guild"
  | "customEmoji";

/** The types of entities that belong to a guild. */
export type GuildEntityType = "member" | "channel" | "role" | "autoResponse" | "settingValue";

/** The names of permission bits. */
export type PermissionName =
  | "ADMINISTRATOR"
  | "VIEW_PUBLIC_LOGS"
  | "VIEW_PRIVATE_LOGS"
  | "REVERT_LOG_ACTIONS"
  | "ADD_AUTO_RESPONSE"
  | "IGNORE_AUTO_RESPONSE_QUOTA"
  | "EDIT_ANY_AUTO_RESPONSE"
  | "DELETE_ANY_AUTO_RESPONSE"
  | "VIEW_SETTINGS"
  | "MANAGE_SETTINGS"
  | "EXEC_PURGE_CMD";

/** What a node asks of every entity. */
export interface AnyEntity {
  id: string;
  [member: string]: unknown;
}

/** A guild. The bot's permissions and flags, not those of the user who looks at it. */
export interface Guild {
  id: Id;
  name: string;
  architus_admin: boolean;
  owner: boolean;
  permissions: number;
  features: string[];
  has_architus: boolean;
  icon?: string | null;
  splash?: string | null;
  banner?: string | null;
  description?: string | null;
  preferred_locale?: string | null;
  region?: string[] | null;
  /** In seconds. */
  afk_timeout?: number | null;
  max_members?: number | null;
  premium_subscription_count?: number | null;
  member_count?: number | null;
  mfa_level?: 0 | 1 | null;
  premium_tier?: 0 | 1 | 2 | 3 | null;
}

/** A Discord account. */
export interface User {
  id: Id;
  username: string;
  discriminator: string;
  avatar?: string | null;
  bot?: boolean | null;
  system?: boolean | null;
}

/** A user's place in a guild. */
export interface Member {
  /** The user's. */
  id: Id;
  name: string;
  discriminator: string;
  /** ISO 8601. */
  joined_at: string;
  avatar?: string | null;
  /** #rrggbb */
  color?: string | null;
  nick?: string | null;
  roles: Id[];
}

/** A text or voice channel. */
export interface Channel {
  id: Id;
  name: string;
}

/** A role, with the members who hold it. */
export interface Role {
  id: Id;
  name: string;
  hoist: boolean;
  position: number;
  managed: boolean;
  mentionable: boolean;
  members: Id[];
  color: string;
}

/** An emoji that the bot manages. */
export interface CustomEmoji {
  id: Id;
  name: string;
  discordId?: Id | null;
  authorId: Id;
  url: string;
  numUses: number;
  priority: number;
}

/** A trigger with its response. */
export interface AutoResponse {
  id: Id;
  trigger: string;
  response: string;
  authorId?: Id | null;
  guildId: Id;
  triggerRegex: string;
  triggerPunctuation: string[];
  /** Pairs of a tag and its text. */
  responseTokens: [string, string][];
  count: number;
  mode: "punctuated" | "naive" | "regex";
}

/** A setting of a guild. */
export interface SettingValue {
  /** Its name. */
  id: string;
  value: unknown;
}

/**
 * The payload of log_pool as the demo's bot and the kits write it: a change of a pool, in the form of a
 * pool_response. A node passes on whatever is published.
 */
export type EntityUpdate<T extends EntityType = EntityType> = T extends EntityType
  ? {
      type: T;
      guild_id: Id | null;
      /** What was added or changed. */
      data: Entities[T][];
      /** The ids of what is gone. */
      nonexistent: string[];
    }
  : never;

/** A log entry of Architus. Its kind follows from its number, and the whole object is the payload. */
export interface LogAction {
  id: Id;
  guild_id: Id;
  action_number: number;
  discord_object?: unknown;
  private?: boolean;
  reversible?: boolean;
  agent_id?: Id | null;
  subject_id?: Id | null;
  /** An update has before and after. */
  data?: unknown;
  requires?: Requires;
  event?: EventName;
  ts?: PublishedAt;
}

/** The token that elevates the socket. */
export interface ElevationRequest {
  /** A JWT, with or without "Bearer " before it. */
  token: string;
  _id?: RequestId;
}

/** Whether the socket is elevated. */
export type ElevationReturn = Elevated | ElevationRefused;

/** The socket is elevated. */
export interface Elevated {
  success: true;
  /** The socket's id, and _auth. */
  room: string;
  /** The token's sub, usually a Snowflake. */
  user_id: string;
  expires_at: UnixSeconds;
  /** Permissions by guild. Absent if the token has more than 1,000 guilds. */
  guilds?: Record<string, PermissionBits>;
  architus_admin: boolean;
  _id?: RequestId;
}

/** The socket is as it was. */
export interface ElevationRefused {
  success: false;
  error: {
    code: ErrorCode;
    message: ErrorWord;
  };
  _id?: RequestId;
}

/** Ends the elevation. */
export interface DemoteRequest {
  token?: Token;
  _id?: RequestId;
}

/** The token expires soon. */
export interface ElevationExpiring {
  expires_at: UnixSeconds;
}

/** The socket has left its room and spectates nothing. */
export interface ElevationExpired {
  reason: "expired" | "revoked" | "demoted";
  /** The demote request's. */
  _id?: RequestId;
}

/** Spectate a guild, or none. */
export interface SpectateRequest {
  /** null stops spectating. */
  guild_id: InputId | null;
  /** Log entries too. */
  include_logs?: boolean;
  /** Guild events get their position as a second argument. */
  positions?: boolean;
  /** Replay what came after this position. */
  since?: Position | null;
  /** The latest so many durable events, where since is absent or could not be recovered. */
  backlog?: number;
  token?: Token;
  _id?: RequestId;
}

/** What the socket spectates now. */
export type SpectateReturn = Spectating | SpectatingWithPositions | SpectatingNothing;

/** Events published after this answer has arrived reach the socket. */
export interface Spectating {
  success: true;
  guild_id: Id;
  include_logs: boolean;
  permissions: PermissionBits;
  _id?: RequestId;
}

/** The answer to a client that asks for positions. What is replayed follows. */
export interface SpectatingWithPositions {
  success: true;
  guild_id: Id;
  include_logs: boolean;
  permissions: PermissionBits;
  /** Where the client stands once it has what is replayed. Null if the history can't be read. */
  position: Position | null;
  /** Nothing since the position that the client sent is missing. */
  recovered: boolean;
  /** How many events are replayed. */
  replayed: number;
  _id?: RequestId;
}

/** The socket has stopped spectating. */
export interface SpectatingNothing {
  success: true;
  guild_id: null;
  include_logs: false;
  _id?: RequestId;
}

/** What was published, byte for byte: usually an EntityUpdate on log_pool and a LogAction on log_other. */
export type GuildEventPayload = unknown;

/** Events of the guild may have been missed. Request again what is on display. */
export interface Resync {
  guild_id: Id;
  reason: ResyncReason | (string & {});
}

/** There may be further reasons; all mean the same to a client. */
export type ResyncReason =
  | "redis_lost"
  | "overflow"
  | "client_overflow"
  | "history_lost"
  | "message_lost"
  | "relay_lost";

/** Entities of a pool. */
export type PoolRequest =
  | PoolOfGuild
  | PoolOfGuildByIds
  | PoolOfNoGuild
  | PoolOfNoGuildByIds
  | SettingsByName
  | MembersOnline
  | PoolSearch;

/** All entities of a type in a guild. */
export interface PoolOfGuild {
  type: GuildEntityType;
  guild_id: InputId;
  request?: "all";
  ids?: never;
  /** Each part says its position. */
  positions?: boolean;
  token?: Token;
  _id?: RequestId;
}

/** Entities of a guild by their ids. */
export interface PoolOfGuildByIds {
  type: "member" | "channel" | "role" | "autoResponse";
  guild_id: InputId;
  request?: "ids";
  ids: InputIds;
  /** Each part says its position. */
  positions?: boolean;
  token?: Token;
  _id?: RequestId;
}

/** All users, guilds or emojis. An emoji may be asked for with its guild. */
export interface PoolOfNoGuild {
  type: "user" | "guild" | "customEmoji";
  guild_id?: InputId | null;
  request?: "all";
  ids?: never;
  /** Each part says its position. */
  positions?: boolean;
  token?: Token;
  _id?: RequestId;
}

/** Users, guilds or emojis by their ids. */
export interface PoolOfNoGuildByIds {
  type: "user" | "guild" | "customEmoji";
  guild_id?: InputId | null;
  request?: "ids";
  ids: InputIds;
  /** Each part says its position. */
  positions?: boolean;
  token?: Token;
  _id?: RequestId;
}

/** Settings by their names. Needs VIEW_SETTINGS. */
export interface SettingsByName {
  type: "settingValue";
  guild_id: InputId;
  request?: "ids";
  ids: string | string[];
  /** Each part says its position. */
  positions?: boolean;
  token?: Token;
  _id?: RequestId;
}

/** The members who are online. */
export interface MembersOnline {
  type: "member";
  guild_id: InputId;
  request: "online";
  /** Each part says its position. */
  positions?: boolean;
  token?: Token;
  _id?: RequestId;
}

/** Members or users by their names, best match first. */
export type PoolSearch = MemberSearch | UserSearch;

export interface MemberSearch {
  type: "member";
  guild_id: InputId;
  request: "search";
  /** At most 256 bytes. */
  query: string;
  /** 25 if it is absent. */
  limit?: number;
  /** Each part says its position. */
  positions?: boolean;
  token?: Token;
  _id?: RequestId;
}

export interface UserSearch {
  type: "user";
  guild_id?: InputId | null;
  request: "search";
  /** At most 256 bytes. */
  query: string;
  /** 25 if it is absent. */
  limit?: number;
  /** Each part says its position. */
  positions?: boolean;
  token?: Token;
  _id?: RequestId;
}

/** One id or many. */
export type InputIds = InputId | InputId[];

/** A part of the answer to a pool request. A part of members comes after one of their users. */
export type PoolResponse<T extends EntityType = EntityType> = T extends EntityType
  ? {
      type: T;
      guild_id: Id | null;
      data: Entities[T][];
      /** Ids that don't exist; in the last part. */
      nonexistent: string[];
      /** This part is the last. */
      finished: boolean;
      /** Everything up to it is in the pool. Only for a client that asks for positions. */
      position?: Position | null;
      _id?: RequestId;
    }
  : never;

/** What the user does in the mock chat. */
export type InterpretRequest = MockMessage | MockReaction;

/** The user writes. */
export interface MockMessage {
  action: 3001;
  guild_id: MockGuildId;
  message_id: MockMessageId;
  /** At most 16 KiB. */
  content: string;
  allowed_commands?: AllowedCommands;
  /** The bot does its work and answers nothing. */
  silent?: boolean;
  _id?: RequestId;
}

/** The user reacts (3100), or takes a reaction back (3101). */
export interface MockReaction {
  action: 3100 | 3101;
  guild_id: MockGuildId;
  message_id: MockMessageId;
  /** At most 128 bytes. */
  emoji: string;
  allowed_commands?: AllowedCommands;
  /** The bot does its work and answers nothing. */
  silent?: boolean;
  _id?: RequestId;
}

/** A mock guild, below 10,000,000. */
export type MockGuildId = number | string;

/** Even if it is a client's. */
export type MockMessageId = number | string;

/** The commands that the bot may run. help is always allowed. */
export type AllowedCommands = ("set" | "remove" | "poll" | "xpoll" | "schedule" | (string & {}))[];

/** What the bot does, in order. */
export interface InterpretResponse {
  guild_id: number;
  actions: MockAction[];
  _id?: RequestId;
}

export type MockAction =
  | {
      action: 3001 | 3002;
      message_id: number;
      content: string;
    }
  | {
      action: 72;
      message_id: number;
    }
  | {
      action: 3100 | 3101;
      message_id: number;
      emoji: string;
      /** The reaction is the user's. */
      targets_user?: boolean;
    };

/** A request failed. */
export interface ErrorPayload {
  /** A stable word to branch on. */
  message: ErrorWord | (string & {});
  code: ErrorCode;
  /** A sentence in English. */
  human: string;
  /** More, or null. */
  details: MissingPermissions | null;
  /** Begins with the event that the error is about. */
  context: string[];
  _id?: RequestId;
}

/** The permissions of which one is needed. */
export interface MissingPermissions {
  any_of: PermissionName[];
}

/** The name under which clients get the event. log_pool or, on _logs, log_other if it is absent. */
export type EventName = string;

/** Permissions beside those that the kind requires, by name or as bits. */
export type Requires = Requirement | Requirement[];

export type Requirement = PermissionName | number;

/** When it was published, in Unix milliseconds. Only a metric depends on it. */
export type PublishedAt = number;

/** Entities by their types. */
export interface Entities {
  member: Member;
  channel: Channel;
  role: Role;
  autoResponse: AutoResponse;
  settingValue: SettingValue;
  user: User;
  guild: Guild;
  customEmoji: CustomEmoji;
}

/**
 * A listener for a guild event. The position comes if it was asked for; it is null for an event that is not
 * durable.
 */
export type GuildEventListener = (payload: GuildEventPayload, position?: Position | null) => void;

/**
 * What a node sends, as socket.io-client types it. Guild events may have further names. Payloads are objects,
 * unless the client sends strings.
 */
export interface ServerToClientEvents {
  /** Answers request_elevation, and a token in the handshake. */
  request_elevation_return: (payload: ElevationReturn) => void;
  /** The token expires soon. */
  elevation_expiring: (payload: ElevationExpiring) => void;
  /** The elevation has ended. */
  elevation_expired: (payload: ElevationExpired) => void;
  /** Answers spectate once Redis has confirmed the subscription. */
  spectate_return: (payload: SpectateReturn) => void;
  /** An entity of the spectated guild changed. */
  log_pool: GuildEventListener;
  /** A log entry of the spectated guild. */
  log_other: GuildEventListener;
  /** Guild events may have been missed. */
  resync: (payload: Resync) => void;
  /** A part of the answer to pool. */
  pool_response: (payload: PoolResponse) => void;
  /** What the bot does in the mock chat. Always an object. */
  interpret_response: (payload: InterpretResponse) => void;
  /** A request failed. */
  error: (payload: ErrorPayload) => void;
}

/** What a client sends, as socket.io-client types it. The acknowledgement gets the last answer, even an error. */
export interface ClientToServerEvents {
  /** Elevates the socket, or refreshes its claims. */
  request_elevation: (payload: ElevationRequest | string, acknowledge?: (answer: ElevationReturn | ErrorPayload) => void) => void;
  /** Ends the elevation. */
  demote: (payload: DemoteRequest, acknowledge?: (answer: ElevationExpired | ErrorPayload) => void) => void;
  /** Spectates a guild, or none. */
  spectate: (payload: SpectateRequest, acknowledge?: (answer: SpectateReturn | ErrorPayload) => void) => void;
  /** Requests entities. */
  pool: (payload: PoolRequest, acknowledge?: (answer: PoolResponse | ErrorPayload) => void) => void;
  /** Something happens in the mock chat. */
  interpret: (payload: InterpretRequest, acknowledge?: (answer: InterpretResponse | ErrorPayload) => void) => void;
}
