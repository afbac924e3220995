"""The backend of a bot beside guildcast. README.md shows each part; guildcast.asyncio is the same with asyncio."""

from __future__ import annotations

import asyncio as _asyncio
import concurrent.futures
import functools
from typing import Any, AsyncIterator, Awaitable, Callable, Iterable, Iterator, Literal, Mapping, Union

import redis
from redis.backoff import NoBackoff
from redis.cluster import ClusterNode, RedisCluster
from redis.retry import Retry as _ClientRetry
from redis.sentinel import Sentinel

from ._connect import options, parse, sentinel_options
from ._emitter import EmitterPlans, Rooms
from ._plan import Retry, drive
from ._pools import PoolsPlans, changed
from ._publisher import PublisherPlans
from ._revoke import revoke_plan
from ._script import SCRIPT
from ._worker import Request, Stats, WorkerBase
from .errors import (
    GuildcastError, InvalidEventError, RedisRefusedError, RedisUnavailableError, RequestError,
)


__all__ = [
    "connect", "Publisher", "Pools", "Emitter", "Worker", "Request", "Retry", "Stats", "revoke", "SCRIPT",
    "GuildcastError", "InvalidEventError", "RedisRefusedError", "RedisUnavailableError", "RequestError",
]

# redis-py leaves them without types.
_Node: Any = ClusterNode
_Sentinel: Any = Sentinel

Client = Union["redis.Redis", "RedisCluster"]
#: A guild event: an envelope with kind and payload, or a log action. guildcast.events has both as TypedDicts.
Event = Mapping[str, Any]
#: An entity, of which only the id matters to nodes. guildcast.events has each type as a TypedDict.
Entity = Mapping[str, Any]
EntityType = Literal["member", "channel", "role", "autoResponse", "settingValue", "user", "guild", "customEmoji"]


def connect(url: str) -> Client:
    """Connects to Redis as soon as it is needed.

    `redis://`, `redis+sentinel://`, `redis+cluster://`, and the same with `rediss`, as a node's --redis takes them
    (without options after a question mark). The client repeats nothing by itself: this package does, as its
    `retry` says. A cluster is connected to at once.
    """
    target = parse(url)
    keywords = options(target, _ClientRetry(NoBackoff(), 0))
    if target.mode == "cluster":
        return RedisCluster(startup_nodes=[_Node(host, port) for host, port in target.hosts], **keywords)
    if target.mode == "sentinel":
        sentinel = _Sentinel(target.hosts, sentinel_kwargs=sentinel_options(target))
        client: redis.Redis = sentinel.master_for(target.primary, **keywords)
        return client
    host, port = target.hosts[0]
    return redis.Redis(host=host, port=port, **keywords)


class Publisher(PublisherPlans):
    """Publishes guild events, from any thread. Events of one guild keep their order if a call follows the other.

    topic_prefix  what precedes the guild's id in the names of channels, as nodes have it with --topic-prefix
    sharded       whether nodes run with --topics sharded
    max_entries   how many events a guild's history keeps
    max_age       how long it keeps one, in seconds
    retry         how commands are repeated while Redis is away
    """

    def publish(self, guild: str, event: Event, *, logs: bool = False) -> int:
        """Publishes a plain event: who is connected gets it, nobody else ever does.

        It returns how many connections of nodes heard it. It is not repeated once it was sent; see
        RedisUnavailableError.uncertain. logs publishes on the log topic: only for those who spectate with logs.
        """
        return drive(self._client, self._publish(guild, event, logs))

    def publish_durably(
        self, guild: str, event: Event, *, logs: bool = False, idempotency_key: Union[str, None] = None,
    ) -> str:
        """Publishes an event durably, and returns its position.

        Every client that may see it gets it exactly once and in order, also who is away just now, for as long as the
        guild's history keeps it. While Redis is away it repeats, which is safe: an event that Redis has already is not
        published again.

        idempotency_key names the event: it is published once, however often it is published with this key within the
        guild's history. Up to 128 of A-Z a-z 0-9 . _ : -. By default each call has one of its own.
        """
        return drive(self._client, self._publish_durably(guild, event, logs, idempotency_key))


class Pools(PoolsPlans):
    """Fills the pools that nodes answer from.

    A guild of None stands for entities that belong to none: users, guilds, and emojis of no guild.
    """

    def put(self, guild: Union[str, None], type: EntityType, *entities: Entity) -> None:
        """Writes entities without saying so to anybody: at the start, or if you publish events of your own after it."""
        drive(self._client, self._put(guild, type, entities))

    def remove(self, guild: Union[str, None], type: EntityType, *ids: str) -> None:
        """Removes entities, likewise."""
        drive(self._client, self._remove(guild, type, ids))

    def replace(self, guild: str, type: EntityType, entities: Iterable[Entity]) -> None:
        """Makes a pool hold these entities and no others: at the start of a bot that was away. Not in one step."""
        drive(self._client, self._replace(guild, type, entities))

    def update(self, publisher: Publisher, guild: str, type: EntityType, *entities: Entity) -> str:
        """Writes entities and then publishes that they have changed, durably, in the form of a pool_response.

        Clients take both through the same code. In this order, since a client that gets the event may ask for the pool
        at once.
        """
        event = changed(guild, type, entities, ())
        self.put(guild, type, *entities)
        return publisher.publish_durably(guild, event)

    def delete(self, publisher: Publisher, guild: str, type: EntityType, *ids: str) -> str:
        """Removes entities and then publishes that they are gone, likewise."""
        event = changed(guild, type, (), ids)
        self.remove(guild, type, *ids)
        return publisher.publish_durably(guild, event)

    def set_online(self, guild: str, *ids: str) -> None:
        """Marks members as online."""
        drive(self._client, self._online("mark as online", "sadd", guild, ids))

    def set_offline(self, guild: str, *ids: str) -> None:
        """Marks members as no longer online."""
        drive(self._client, self._online("mark as offline", "srem", guild, ids))


class Emitter(EmitterPlans):
    """Emits to the sockets of the whole cluster, whichever node or Node.js server has them.

    key is what nodes have with --adapter-key. Each call is done once Redis has the message, and returns how many
    servers heard it. `to` and `except_` are a room or several; by default all sockets of the namespace. A socket is in
    the room of its id and, once elevated, in `<id>_auth`.
    """

    def emit(
        self, event: str, *args: Any, to: Rooms = (), except_: Rooms = (), namespace: str = "/",
        volatile: bool = False, compress: Union[bool, None] = None,
    ) -> int:
        """Emits an event. Arguments are what JSON can hold, bytes, and datetimes."""
        return drive(self._client, self._emit(event, args, to, except_, namespace, volatile, compress))

    def join(self, rooms: Rooms, *, to: Rooms = (), except_: Rooms = (), namespace: str = "/") -> int:
        """Makes the sockets join rooms."""
        return drive(self._client, self._join(rooms, to, except_, namespace))

    def leave(self, rooms: Rooms, *, to: Rooms = (), except_: Rooms = (), namespace: str = "/") -> int:
        """Makes the sockets leave rooms."""
        return drive(self._client, self._leave(rooms, to, except_, namespace))

    def disconnect(
        self, *, to: Rooms = (), except_: Rooms = (), namespace: str = "/", close: bool = False,
    ) -> int:
        """Disconnects the sockets from the namespace, or closes their connections."""
        return drive(self._client, self._disconnect(to, except_, namespace, close))

    def server_side_emit(self, event: str, *args: Any, namespace: str = "/") -> int:
        """Emits to the Node.js servers and nodes themselves."""
        return drive(self._client, self._server_side_emit(event, args, namespace))


def revoke(
    client: Client, *, sub: Union[str, None] = None, jti: Union[str, None] = None,
    iat_before: Union[float, Literal["now"], None] = None, expires: Union[float, None] = None, retry: Retry = Retry(),
) -> int:
    """Revokes the tokens that meet all of the conditions given; sub or jti is required.

    Every socket that has one is demoted at once, and nodes refuse it, also those that start later. It is stored before
    it is published, so that it holds even if no node runs. It returns how many nodes heard it.

    iat_before  only tokens that were issued before, in seconds since 1970, or "now": the user may come back with a new
                one. Without it a user is banned, with tokens that are minted later
    expires     until when it is remembered, in seconds since 1970: when the last of the tokens expires. By default for
                30 days
    """
    return drive(client, revoke_plan(sub, jti, iat_before, expires, retry))


class Worker(WorkerBase):
    """Answers the requests that nodes put into Redis, with handlers in threads."""

    def run(self) -> None:
        """Answers requests until stop is called. While Redis is away it waits."""
        _asyncio.run(self._run_in_threads())

    async def _run_in_threads(self) -> None:
        services = len(self._service_names())
        # Each service reads and claims, and answers as many requests as it may have.
        threads = concurrent.futures.ThreadPoolExecutor(2 * services + 30, "guildcast-redis")
        handlers = concurrent.futures.ThreadPoolExecutor(
            max(1, services * self._settings.concurrency), "guildcast-handler")
        try:
            await self._run(_Threads(self._client, threads, handlers))
        finally:
            threads.shutdown(wait=False)
            handlers.shutdown(wait=False)


class _Threads:
    """Calls Redis and handlers in threads."""

    cancels = False

    def __init__(
        self, client: Client, redis: concurrent.futures.Executor, handlers: concurrent.futures.Executor,
    ) -> None:
        self._client = client
        self._redis = redis
        self._handlers = handlers

    def do(self, name: str, *args: Any, **kwargs: Any) -> Awaitable[Any]:
        method = functools.partial(getattr(self._client, name), *args, **kwargs)
        return _asyncio.get_running_loop().run_in_executor(self._redis, method)

    async def parts(self, handler: Callable[[Request[Any]], Any], request: Request[Any]) -> AsyncIterator[Any]:
        loop = _asyncio.get_running_loop()
        answer = await loop.run_in_executor(self._handlers, handler, request)
        if not isinstance(answer, Iterator):
            yield answer
            return
        end = object()
        while True:
            part = await loop.run_in_executor(self._handlers, next, answer, end)
            if part is end:
                return
            yield part
