"""Types of what guildcast's nodes, clients and workers say to each other.

Code generated from schemas/source by `go generate ./schemas`. DO NOT EDIT.
"""

from __future__ import annotations

from typing import Any, Dict, List, Literal, Mapping, Tuple, TypedDict, Union


class _Guild(TypedDict):
    id: Id
    name: str
    architus_admin: bool
    owner: bool
    permissions: float
    features: List[str]
    has_architus: bool


class Guild(_Guild, total=False):
    """A guild. The bot's permissions and flags, not those of the user who looks at it."""

    icon: Union[str, None]
    splash: Union[str, None]
    banner: Union[str, None]
    description: Union[str, None]
    preferred_locale: Union[str, None]
    region: Union[List[str], None]
    # In seconds.
    afk_timeout: Union[float, None]
    max_members: Union[float, None]
    premium_subscription_count: Union[float, None]
    member_count: Union[float, None]
    mfa_level: Literal[0, 1, None]
    premium_tier: Literal[0, 1, 2, 3, None]


class _User(TypedDict):
    id: Id
    username: str
    discriminator: str


class User(_User, total=False):
    """A Discord account."""

    avatar: Union[str, None]
    bot: Union[bool, None]
    system: Union[bool, None]


class _Member(TypedDict):
    # The user's.
    id: Id
    name: str
    discriminator: str
    # ISO 8601.
    joined_at: str
    roles: List[Id]


class Member(_Member, total=False):
    """A user's place in a guild."""

    avatar: Union[str, None]
    # #rrggbb
    color: Union[str, None]
    nick: Union[str, None]


class Channel(TypedDict):
    """A text or voice channel."""

    id: Id
    name: str


class Role(TypedDict):
    """A role, with the members who hold it."""

    id: Id
    name: str
    hoist: bool
    position: float
    managed: bool
    mentionable: bool
    members: List[Id]
    color: str


class _CustomEmoji(TypedDict):
    id: Id
    name: str
    authorId: Id
    url: str
    numUses: float
    priority: float


class CustomEmoji(_CustomEmoji, total=False):
    """An emoji that the bot manages."""

    discordId: Union[Id, None]


class _AutoResponse(TypedDict):
    id: Id
    trigger: str
    response: str
    guildId: Id
    triggerRegex: str
    triggerPunctuation: List[str]
    # Pairs of a tag and its text.
    responseTokens: List[Tuple[str, str]]
    count: float
    mode: Literal["punctuated", "naive", "regex"]


class AutoResponse(_AutoResponse, total=False):
    """A trigger with its response."""

    authorId: Union[Id, None]


class SettingValue(TypedDict):
    """A setting of a guild."""

    # Its name.
    id: str
    value: Any


class EntityUpdate(TypedDict):
    """The payload of log_pool as the demo's bot and the kits write it: a change of a
    pool, in the form of a pool_response. A node passes on whatever is published.
    """

    type: EntityType
    guild_id: Union[Id, None]
    # What was added or changed.
    data: List[AnyEntity]
    # The ids of what is gone.
    nonexistent: List[str]


class _LogAction(TypedDict):
    id: Id
    guild_id: Id
    action_number: int


class LogAction(_LogAction, total=False):
    """A log entry of Architus. Its kind follows from its number, and the whole object
    is the payload.
    """

    discord_object: Any
    private: bool
    reversible: bool
    agent_id: Union[Id, None]
    subject_id: Union[Id, None]
    # An update has before and after.
    data: Any
    requires: Requires
    event: EventName
    ts: PublishedAt


class _ElevationRequest(TypedDict):
    # A JWT, with or without "Bearer " before it.
    token: str


class ElevationRequest(_ElevationRequest, total=False):
    """The token that elevates the socket."""

    _id: RequestId


class _Elevated(TypedDict):
    success: Literal[True]
    # The socket's id, and _auth.
    room: str
    # The token's sub, usually a Snowflake.
    user_id: str
    expires_at: UnixSeconds
    architus_admin: bool


class Elevated(_Elevated, total=False):
    """The socket is elevated."""

    # Permissions by guild. Absent if the token has more than 1,000 guilds.
    guilds: Dict[str, PermissionBits]
    _id: RequestId


class ElevationRefusedError(TypedDict):
    code: ErrorCode
    message: ErrorWord


class _ElevationRefused(TypedDict):
    success: Literal[False]
    error: ElevationRefusedError


class ElevationRefused(_ElevationRefused, total=False):
    """The socket is as it was."""

    _id: RequestId


class DemoteRequest(TypedDict, total=False):
    """Ends the elevation."""

    token: Token
    _id: RequestId


class ElevationExpiring(TypedDict):
    """The token expires soon."""

    expires_at: UnixSeconds


class _ElevationExpired(TypedDict):
    reason: Literal["expired", "revoked", "demoted"]


class ElevationExpired(_ElevationExpired, total=False):
    """The socket has left its room and spectates nothing."""

    # The demote request's.
    _id: RequestId


class _SpectateRequest(TypedDict):
    # null stops spectating.
    guild_id: Union[InputId, None]


class SpectateRequest(_SpectateRequest, total=False):
    """Spectate a guild, or none."""

    # Log entries too.
    include_logs: bool
    # Guild events get their position as a second argument.
    positions: bool
    # Replay what came after this position.
    since: Union[Position, None]
    # The latest so many durable events, where since is absent or could not be
    # recovered.
    backlog: int
    token: Token
    _id: RequestId


class _Spectating(TypedDict):
    success: Literal[True]
    guild_id: Id
    include_logs: bool
    permissions: PermissionBits


class Spectating(_Spectating, total=False):
    """Events published after this answer has arrived reach the socket."""

    _id: RequestId


class _SpectatingWithPositions(TypedDict):
    success: Literal[True]
    guild_id: Id
    include_logs: bool
    permissions: PermissionBits
    # Where the client stands once it has what is replayed. Null if the history can't
    # be read.
    position: Union[Position, None]
    # Nothing since the position that the client sent is missing.
    recovered: bool
    # How many events are replayed.
    replayed: int


class SpectatingWithPositions(_SpectatingWithPositions, total=False):
    """The answer to a client that asks for positions. What is replayed follows."""

    _id: RequestId


class _SpectatingNothing(TypedDict):
    success: Literal[True]
    guild_id: None
    include_logs: Literal[False]


class SpectatingNothing(_SpectatingNothing, total=False):
    """The socket has stopped spectating."""

    _id: RequestId


class Resync(TypedDict):
    """Events of the guild may have been missed. Request again what is on display."""

    guild_id: Id
    reason: Union[ResyncReason, str]


class _PoolOfGuild(TypedDict):
    type: GuildEntityType
    guild_id: InputId


class PoolOfGuild(_PoolOfGuild, total=False):
    """All entities of a type in a guild."""

    request: Literal["all"]
    # Each part says its position.
    positions: bool
    token: Token
    _id: RequestId


class _PoolOfGuildByIds(TypedDict):
    type: Literal["member", "channel", "role", "autoResponse"]
    guild_id: InputId
    ids: InputIds


class PoolOfGuildByIds(_PoolOfGuildByIds, total=False):
    """Entities of a guild by their ids."""

    request: Literal["ids"]
    # Each part says its position.
    positions: bool
    token: Token
    _id: RequestId


class _PoolOfNoGuild(TypedDict):
    type: Literal["user", "guild", "customEmoji"]


class PoolOfNoGuild(_PoolOfNoGuild, total=False):
    """All users, guilds or emojis. An emoji may be asked for with its guild."""

    guild_id: Union[InputId, None]
    request: Literal["all"]
    # Each part says its position.
    positions: bool
    token: Token
    _id: RequestId


class _PoolOfNoGuildByIds(TypedDict):
    type: Literal["user", "guild", "customEmoji"]
    ids: InputIds


class PoolOfNoGuildByIds(_PoolOfNoGuildByIds, total=False):
    """Users, guilds or emojis by their ids."""

    guild_id: Union[InputId, None]
    request: Literal["ids"]
    # Each part says its position.
    positions: bool
    token: Token
    _id: RequestId


class _SettingsByName(TypedDict):
    type: Literal["settingValue"]
    guild_id: InputId
    ids: Union[str, List[str]]


class SettingsByName(_SettingsByName, total=False):
    """Settings by their names. Needs VIEW_SETTINGS."""

    request: Literal["ids"]
    # Each part says its position.
    positions: bool
    token: Token
    _id: RequestId


class _MembersOnline(TypedDict):
    type: Literal["member"]
    guild_id: InputId
    request: Literal["online"]


class MembersOnline(_MembersOnline, total=False):
    """The members who are online."""

    # Each part says its position.
    positions: bool
    token: Token
    _id: RequestId


class _MemberSearch(TypedDict):
    type: Literal["member"]
    guild_id: InputId
    request: Literal["search"]
    # At most 256 bytes.
    query: str


class MemberSearch(_MemberSearch, total=False):
    # 25 if it is absent.
    limit: int
    # Each part says its position.
    positions: bool
    token: Token
    _id: RequestId


class _UserSearch(TypedDict):
    type: Literal["user"]
    request: Literal["search"]
    # At most 256 bytes.
    query: str


class UserSearch(_UserSearch, total=False):
    guild_id: Union[InputId, None]
    # 25 if it is absent.
    limit: int
    # Each part says its position.
    positions: bool
    token: Token
    _id: RequestId


class _PoolResponse(TypedDict):
    type: EntityType
    guild_id: Union[Id, None]
    data: List[AnyEntity]
    # Ids that don't exist; in the last part.
    nonexistent: List[str]
    # This part is the last.
    finished: bool


class PoolResponse(_PoolResponse, total=False):
    """A part of the answer to a pool request. A part of members comes after one of
    their users.
    """

    # Everything up to it is in the pool. Only for a client that asks for positions.
    position: Union[Position, None]
    _id: RequestId


class _MockMessage(TypedDict):
    action: Literal[3001]
    guild_id: MockGuildId
    message_id: MockMessageId
    # At most 16 KiB.
    content: str


class MockMessage(_MockMessage, total=False):
    """The user writes."""

    allowed_commands: AllowedCommands
    # The bot does its work and answers nothing.
    silent: bool
    _id: RequestId


class _MockReaction(TypedDict):
    action: Literal[3100, 3101]
    guild_id: MockGuildId
    message_id: MockMessageId
    # At most 128 bytes.
    emoji: str


class MockReaction(_MockReaction, total=False):
    """The user reacts (3100), or takes a reaction back (3101)."""

    allowed_commands: AllowedCommands
    # The bot does its work and answers nothing.
    silent: bool
    _id: RequestId


class _InterpretResponse(TypedDict):
    guild_id: int
    actions: List[MockAction]


class InterpretResponse(_InterpretResponse, total=False):
    """What the bot does, in order."""

    _id: RequestId


class _ErrorPayload(TypedDict):
    # A stable word to branch on.
    message: Union[ErrorWord, str]
    code: ErrorCode
    # A sentence in English.
    human: str
    # More, or null.
    details: Union[MissingPermissions, None]
    # Begins with the event that the error is about.
    context: List[str]


class ErrorPayload(_ErrorPayload, total=False):
    """A request failed."""

    _id: RequestId


class MissingPermissions(TypedDict):
    """The permissions of which one is needed."""

    any_of: List[PermissionName]


class _GuildEventEnvelope(TypedDict):
    # Passed on as it is, byte for byte.
    payload: Any


class GuildEventEnvelope(_GuildEventEnvelope, total=False):
    """A guild event with its kind and its payload."""

    # Names the event, for a publisher that publishes it again because it does not
    # know whether it has. It comes first in the message. Nodes ignore it.
    idempotency_key: str
    event: EventName
    # What the policy goes by. An unknown kind reaches nobody.
    kind: Union[EventKind, str]
    # Adds VIEW_PRIVATE_LOGS to what is required.
    private: bool
    requires: Requires
    ts: PublishedAt


class Marker(TypedDict):
    """A durable message of a relay. Nodes send resync with its reason to those who
    spectate the guild.
    """

    resync: str


class HistoryEntry(TypedDict):
    """An entry of a guild's history."""

    # The topic.
    t: Literal["pool", "logs"]
    # The event or marker as JSON.
    m: str


class Revocation(TypedDict, total=False):
    """Revokes the tokens that meet all conditions."""

    # Tokens of this user.
    sub: RevokedId
    # The token of this name.
    jti: RevokedId
    # Tokens issued before, in Unix seconds.
    iat_before: float
    # When the last of the tokens expires, in Unix seconds.
    exp: float


class WorkerRequest(TypedDict):
    """An entry of a stream of requests. All fields are strings."""

    # The reply repeats it.
    id: str
    method: Literal["interpret", "fetch", "all", "search"]
    # JSON: FetchArgs, AllArgs, SearchArgs or InterpretRequest.
    args: str
    # The channel on which the node waits.
    reply_to: str
    # Unix milliseconds.
    deadline: str


class _FetchArgs(TypedDict):
    type: EntityType
    ids: List[str]


class FetchArgs(_FetchArgs, total=False):
    """The arguments of fetch."""

    # Absent for entities of no guild.
    guild_id: Id


class _AllArgs(TypedDict):
    type: EntityType


class AllArgs(_AllArgs, total=False):
    """The arguments of all."""

    # Absent for entities of no guild.
    guild_id: Id


class _SearchArgs(TypedDict):
    type: Literal["member", "user"]
    query: str
    limit: int


class SearchArgs(_SearchArgs, total=False):
    """The arguments of search."""

    # Absent for entities of no guild.
    guild_id: Id


class _PoolResult(TypedDict):
    data: List[AnyEntity]


class PoolResult(_PoolResult, total=False):
    """The result of fetch, all and search, or a part of it."""

    nonexistent: List[str]


class _ReplyPart(TypedDict):
    # The request's.
    id: str
    ok: Literal[True]
    # PoolResult or InterpretResponse.
    result: Any


class ReplyPart(_ReplyPart, total=False):
    """A part of an answer."""

    # Further parts follow.
    more: bool
    # Names the worker and its attempt.
    worker: str
    # The number of the part, from 0.
    part: int


class ReplyRefusalError(TypedDict):
    code: ErrorCode
    # A stable word.
    message: str


class _ReplyRefusal(TypedDict):
    # The request's.
    id: str
    ok: Literal[False]
    error: ReplyRefusalError


class ReplyRefusal(_ReplyRefusal, total=False):
    """A worker's refusal."""

    more: bool
    worker: str
    part: int

# A Snowflake or HoarFrost id.
Id = str

# An id as a client may send it. A number from 2^53 on is refused, since JavaScript
# has rounded it.
InputId = Union[Id, int]

# A name for a request, of at most 256 bytes. Each answer to the request repeats it.
RequestId = Union[str, float]

# The position of a durable event in the history of its guild.
Position = str

# Permission bits in a guild. An administrator has every bit, 2^53-1.
PermissionBits = int

# Seconds since 1970.
UnixSeconds = int

# A JWT, with or without "Bearer " before it. Required unless the operator made it
# optional.
Token = Union[str, None]

# Follows HTTP.
ErrorCode = int

# The words of a node's errors. A worker may answer with words of its own.
ErrorWord = Literal[
    "malformed",
    "token_missing",
    "token_invalid",
    "token_expired",
    "token_not_yet_valid",
    "token_revoked",
    "token_of_other_user",
    "keys_unavailable",
    "revocations_unavailable",
    "not_a_member",
    "permission_missing",
    "unknown_event",
    "not_elevated",
    "demoted",
    "payload_too_large",
    "rate_limited",
    "too_many_requests",
    "internal",
    "redis_unavailable",
    "backend_unavailable",
    "backend_failed",
    "backend_busy",
    "backend_answer_too_large",
    "backend_timeout",
]

# The types of entities, which are the types of pools.
EntityType = Literal[
    "member",
    "channel",
    "role",
    "autoResponse",
    "settingValue",
    "user",
    "guild",
    "customEmoji",
]

# The types of entities that belong to a guild.
GuildEntityType = Literal["member", "channel", "role", "autoResponse", "settingValue"]

# The names of permission bits.
PermissionName = Literal[
    "ADMINISTRATOR",
    "VIEW_PUBLIC_LOGS",
    "VIEW_PRIVATE_LOGS",
    "REVERT_LOG_ACTIONS",
    "ADD_AUTO_RESPONSE",
    "IGNORE_AUTO_RESPONSE_QUOTA",
    "EDIT_ANY_AUTO_RESPONSE",
    "DELETE_ANY_AUTO_RESPONSE",
    "VIEW_SETTINGS",
    "MANAGE_SETTINGS",
    "EXEC_PURGE_CMD",
]

# The kinds of guild events that the default policy knows. A policy may add others.
EventKind = Literal[
    "guild",
    "channel",
    "role",
    "emoji",
    "member",
    "user",
    "auto_response",
    "setting",
    "message",
    "reaction",
    "invite",
    "webhook",
    "integration",
    "interaction",
    "moderation",
    "administrator",
    "internal",
]

# What a node asks of every entity.
AnyEntity = Mapping[str, object]

# Whether the socket is elevated.
ElevationReturn = Union[Elevated, ElevationRefused]

# What the socket spectates now.
SpectateReturn = Union[Spectating, SpectatingWithPositions, SpectatingNothing]

# What was published, byte for byte: usually an EntityUpdate on log_pool and a
# LogAction on log_other.
GuildEventPayload = Any

# There may be further reasons; all mean the same to a client.
ResyncReason = Literal[
    "redis_lost",
    "overflow",
    "client_overflow",
    "history_lost",
    "message_lost",
    "relay_lost",
]

# Members or users by their names, best match first.
PoolSearch = Union[MemberSearch, UserSearch]

# One id or many.
InputIds = Union[InputId, List[InputId]]

# What the user does in the mock chat.
InterpretRequest = Union[MockMessage, MockReaction]

# A mock guild, below 10,000,000.
MockGuildId = Union[int, str]

# Even if it is a client's.
MockMessageId = Union[int, str]

# The commands that the bot may run. help is always allowed.
AllowedCommands = List[
    Union[Literal["set", "remove", "poll", "xpoll", "schedule"], str],
]



class MockAction1(TypedDict):
    """The bot writes (3001), or edits its message (3002)."""

    action: Literal[3001, 3002]
    message_id: int
    content: str


class MockAction2(TypedDict):
    """The bot deletes a message."""

    action: Literal[72]
    message_id: int


class _MockAction3(TypedDict):
    action: Literal[3100, 3101]
    message_id: int
    emoji: str


class MockAction3(_MockAction3, total=False):
    """The bot reacts (3100), or takes a reaction back (3101)."""

    # The reaction is the user's.
    targets_user: bool
MockAction = Union[MockAction1, MockAction2, MockAction3]

# What is published on a topic of a guild.
GuildEvent = Union[GuildEventEnvelope, LogAction]

# The name under which clients get the event. log_pool or, on _logs, log_other if it
# is absent.
EventName = str

Requirement = Union[PermissionName, int]

# When it was published, in Unix milliseconds. Only a metric depends on it.
PublishedAt = int

# How the publish script publishes: the position, a blank, and the event as JSON.
DurableGuildEvent = str

RevokedId = Union[str, int]

# A worker's reply.
Reply = Union[ReplyPart, ReplyRefusal]

# Entities of a pool.
PoolRequest = Union[
    PoolOfGuild,
    PoolOfGuildByIds,
    PoolOfNoGuild,
    PoolOfNoGuildByIds,
    SettingsByName,
    MembersOnline,
    PoolSearch,
]

# Permissions beside those that the kind requires, by name or as bits.
Requires = Union[Requirement, List[Requirement]]

__all__ = [
    "Id",
    "InputId",
    "RequestId",
    "Position",
    "PermissionBits",
    "UnixSeconds",
    "Token",
    "ErrorCode",
    "ErrorWord",
    "EntityType",
    "GuildEntityType",
    "PermissionName",
    "EventKind",
    "AnyEntity",
    "Guild",
    "User",
    "Member",
    "Channel",
    "Role",
    "CustomEmoji",
    "AutoResponse",
    "SettingValue",
    "EntityUpdate",
    "LogAction",
    "ElevationRequest",
    "ElevationReturn",
    "Elevated",
    "ElevationRefused",
    "DemoteRequest",
    "ElevationExpiring",
    "ElevationExpired",
    "SpectateRequest",
    "SpectateReturn",
    "Spectating",
    "SpectatingWithPositions",
    "SpectatingNothing",
    "GuildEventPayload",
    "Resync",
    "ResyncReason",
    "PoolRequest",
    "PoolOfGuild",
    "PoolOfGuildByIds",
    "PoolOfNoGuild",
    "PoolOfNoGuildByIds",
    "SettingsByName",
    "MembersOnline",
    "PoolSearch",
    "MemberSearch",
    "UserSearch",
    "InputIds",
    "PoolResponse",
    "InterpretRequest",
    "MockMessage",
    "MockReaction",
    "MockGuildId",
    "MockMessageId",
    "AllowedCommands",
    "InterpretResponse",
    "MockAction",
    "ErrorPayload",
    "MissingPermissions",
    "GuildEvent",
    "GuildEventEnvelope",
    "EventName",
    "Requires",
    "Requirement",
    "PublishedAt",
    "DurableGuildEvent",
    "Marker",
    "HistoryEntry",
    "Revocation",
    "RevokedId",
    "WorkerRequest",
    "FetchArgs",
    "AllArgs",
    "SearchArgs",
    "PoolResult",
    "Reply",
    "ReplyPart",
    "ReplyRefusal",
]
