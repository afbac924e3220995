"""Answering the requests that nodes put into Redis; docs/reference/workers.md describes the protocol."""

from __future__ import annotations

import asyncio
import json
import logging
import secrets
import socket
import time
from collections import deque
from dataclasses import dataclass, field
from typing import (
    Any, AsyncIterator, Awaitable, Callable, Generic, Iterator, Mapping, Protocol, TypeVar, Union, cast,
)

from ._names import request_stream
from ._plan import text
from .errors import RequestError

logger = logging.getLogger("guildcast.worker")

A = TypeVar("A", covariant=True)

#: How long one read waits for requests, which is how long stopping takes.
_BLOCK = 0.5
#: How long a worker without requests is silent before others remove its name: one that is killed leaves it behind.
_FORGET_AFTER = 600.0
_SETTLE_TIMEOUT = 2.0
_MOST_READ, _MOST_CLAIMED = 64, 8
_METHODS = ("fetch", "all", "search", "interpret")


@dataclass(frozen=True)
class Request(Generic[A]):
    """A request for a handler.

    Its args are those of guildcast.events: FetchArgs, AllArgs, SearchArgs, InterpretRequest.
    """

    method: str
    args: A
    #: In seconds since 1970. Nobody waits any longer.
    deadline: float
    id: str = field(repr=False)
    reply_to: str = field(repr=False)

    def is_late(self) -> bool:
        """Reports whether nobody waits for the answer any more."""
        return time.time() >= self.deadline


@dataclass
class Stats:
    """Counters since the start."""

    answered: int = 0
    refused: int = 0
    #: Skipped, or ended without an answer in time.
    expired: int = 0
    #: Taken over from another worker.
    claimed: int = 0
    #: Dropped, because nobody could be answered.
    malformed: int = 0
    #: Not published; another attempt follows, by this worker or another.
    failed: int = 0


@dataclass
class Settings:
    group: str
    name: str
    concurrency: int
    claim_after: float
    part_size: int


class Runtime(Protocol):
    """How a worker calls Redis and handlers: on the event loop, or in threads."""

    #: Whether a handler ends if it is cancelled. A thread does not.
    cancels: bool

    def do(self, name: str, *args: Any, **kwargs: Any) -> Awaitable[Any]: ...

    def parts(self, handler: Callable[[Request[Any]], Any], request: Request[Any]) -> AsyncIterator[Any]: ...


class WorkerBase:
    def __init__(
        self, client: Any, *, services: Union[list[str], None] = None, shards: int = 1, group: str = "workers",
        name: Union[str, None] = None, concurrency: int = 16, claim_after: float = 2.0, part_size: int = 1_000,
        on_ready: Union[Callable[[], None], None] = None,
    ) -> None:
        """Takes options:

        services     the services to answer ("interpret", "pool:0", ...); by default interpret if there is a handler
                     for it, and all shards of the pools if there is one for those
        shards       as nodes have it with --shards
        group        the consumer group; all workers of a service belong in the same
        name         what the consumer's name begins with; the rest is random. By default the host's name
        concurrency  requests handled at the same time, of each service; others wait in Redis for any worker
        claim_after  after how many seconds without a sign of life a request is taken over
        part_size    entities in one part of an answer, at most 1,000
        on_ready     called once every service is joined for the first time: requests are taken from now on
        """
        self.stats = Stats()
        self._client = client
        self._handlers: dict[str, Callable[[Request[Any]], Any]] = {}
        self._shards = shards
        self._services = services
        self._on_ready = on_ready
        prefix = name if name is not None else socket.gethostname() or "worker"
        self._settings = Settings(
            group, f"{prefix}-{secrets.token_hex(6)}", concurrency, claim_after, min(part_size, 1_000))
        self._loop: Union[asyncio.AbstractEventLoop, None] = None
        self._stop: Union[asyncio.Event, None] = None
        self._stopped = False

    H = TypeVar("H", bound=Callable[[Request[Any]], Any])

    def on(self, method: str) -> Callable[[H], H]:
        """Makes a function the handler of a method: "fetch", "all", "search" or "interpret".

        It returns the answer, or is a generator of its parts. Entities of any number will do: what is long goes out in
        parts. It raises a RequestError to refuse the request; any other exception is logged, and the client gets 500
        `internal`. Handlers run concurrently, and may be called twice for a request.
        """
        if method not in _METHODS:
            raise ValueError(f"there is no method {method!r}")

        def register(handler: WorkerBase.H) -> WorkerBase.H:
            self._handlers[method] = handler
            return handler

        return register

    def stop(self) -> None:
        """Makes run take no more requests, finish those that it has, and return.

        It may be called from any thread, and from a signal handler.
        """
        self._stopped = True
        loop, stop = self._loop, self._stop
        if loop is not None and stop is not None:
            try:
                loop.call_soon_threadsafe(stop.set)
            except RuntimeError:  # the loop is closed: it has stopped
                pass

    def _service_names(self) -> list[str]:
        if self._services is not None:
            return self._services
        services = ["interpret"] if "interpret" in self._handlers else []
        if set(self._handlers) - {"interpret"}:
            services += [f"pool:{i}" for i in range(self._shards)]
        return services

    async def _run(self, runtime: Runtime) -> None:
        self._loop, self._stop = asyncio.get_running_loop(), asyncio.Event()
        if self._stopped:
            self._stop.set()
        services = self._service_names()
        joining = len(services)

        def ready() -> None:
            nonlocal joining
            joining -= 1
            if joining == 0 and self._on_ready is not None:
                self._on_ready()

        consumers = [
            Consumer(runtime, self._handlers, self._settings, self.stats, service, ready) for service in services
        ]
        await asyncio.gather(*(consumer.run(self._stop) for consumer in consumers))


class Consumer:
    """A worker's part in one stream's consumer group."""

    def __init__(
        self, runtime: Runtime, handlers: Mapping[str, Callable[[Request[Any]], Any]], settings: Settings, stats: Stats,
        service: str, ready: Callable[[], None],
    ) -> None:
        self._do = runtime.do
        self._cancels = runtime.cancels
        self._parts = runtime.parts
        self._handlers = handlers
        self._settings = settings
        self._stats = stats
        self._stream = request_stream(service)
        self._group = settings.group
        self._name = settings.name
        self._ready = ready
        #: Entries being handled.
        self._mine: dict[str, asyncio.Task[None]] = {}
        #: Requests that can be taken: those of handlers that have not returned count, also if they are over.
        self._free = settings.concurrency
        #: Who waits for some of them, for how many at most, in order: reading must not keep claiming from its turn.
        self._waiting: deque[tuple[int, asyncio.Future[int]]] = deque()
        self._attempts = 0
        self._reported: dict[str, float] = {}

    async def run(self, stop: asyncio.Event) -> None:
        keeper = asyncio.ensure_future(self._loop(asyncio.Event(), self._keep_alive))
        waker = asyncio.ensure_future(self._wake_at(stop))
        try:
            await self._loop(stop, self._join, once=True)
            if not stop.is_set():
                self._ready()
            await asyncio.gather(
                self._loop(stop, lambda: self._read(stop)), self._loop(stop, lambda: self._claim(stop)))
            await asyncio.gather(*self._mine.values())
        finally:
            for task in (keeper, waker, *self._mine.values()):
                task.cancel()
        await self._leave()

    async def _wake_at(self, stop: asyncio.Event) -> None:
        await stop.wait()
        while self._waiting:
            self._waiting.popleft()[1].set_result(0)

    async def _loop(self, stop: asyncio.Event, step: Callable[[], Awaitable[None]], once: bool = False) -> None:
        """Calls step until stop is set, or until it works once. It pauses after an error."""
        failures = 0
        while not stop.is_set():
            try:
                await step()
                if once:
                    return
                failures = 0
            except Exception as error:  # whatever it is, the worker goes on
                if stop.is_set():
                    return
                if "NOGROUP" in str(error):  # Redis has lost its memory
                    try:
                        await self._join()
                        continue
                    except Exception as second:
                        error = second
                self._report(f"worker can't use Redis: {error}")
                await _pause(min(0.05 * 2**failures, 2.0), stop)
                failures += 1

    async def _join(self) -> None:
        """Makes the group, from the stream's beginning: what is older than the first worker may still be in time."""
        try:
            await self._do("xgroup_create", self._stream, self._group, id="0", mkstream=True)
        except Exception as error:
            if "BUSYGROUP" not in str(error):
                raise

    async def _read(self, stop: asyncio.Event) -> None:
        """Takes as many requests as can be handled now."""

        async def take(count: int) -> list[tuple[str, dict[str, str]]]:
            found = self._do("xreadgroup", self._group, self._name, {self._stream: ">"},
                             count=count, block=round(_BLOCK * 1000))
            # A connection that is cut without a word must not keep the worker from stopping.
            return list(_entries(await asyncio.wait_for(found, _BLOCK + 5)))

        await self._taking(_MOST_READ, stop, take)

    async def _claim(self, stop: asyncio.Event) -> None:
        """Takes over requests that another worker has left, or this one after a pause of its whole process."""
        await _pause(self._settings.claim_after / 4, stop)
        await self._taking(_MOST_CLAIMED, stop, self._abandoned)
        if not stop.is_set():
            await self._forget_dead()

    async def _abandoned(self, count: int) -> list[tuple[str, dict[str, str]]]:
        idle = round(self._settings.claim_after * 1000)
        left = await self._do("xpending_range", self._stream, self._group, min="-", max="+", count=count, idle=idle)
        ids = [id for id in (text(entry["message_id"]) for entry in left) if id not in self._mine]
        if not ids:
            return []
        found: list[tuple[str, dict[str, str]]] = []
        claimed = await self._do("xclaim", self._stream, self._group, self._name, idle, ids, justid=True)
        for id in claimed:
            entry = list(_entries(await self._do("xrange", self._stream, id, id)))
            if entry:
                found += entry
            else:  # Redis before 7 keeps it pending for ever
                await self._do("xack", self._stream, self._group, id)
        self._stats.claimed += len(found)
        return found

    async def _taking(
        self, at_most: int, stop: asyncio.Event,
        take: Callable[[int], Awaitable[list[tuple[str, dict[str, str]]]]],
    ) -> None:
        """Waits until a request can be taken, reserves room for up to so many, and starts those that take returns."""
        if stop.is_set():
            return
        reserved = await self._reserve(at_most)
        try:
            if stop.is_set():
                return
            for id, fields in await take(reserved):
                reserved -= 1
                task = asyncio.ensure_future(self._handle(id, fields))
                self._mine[id] = task
                task.add_done_callback(lambda _, id=id: self._mine.pop(id, None))  # type: ignore[misc]
        finally:
            self._release(reserved)

    async def _reserve(self, at_most: int) -> int:
        """Reserves room for up to so many requests, and returns for how many: 0 if the worker stops."""
        turn: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        self._waiting.append((at_most, turn))
        self._release(0)
        return await turn

    def _release(self, count: int) -> None:
        self._free += count
        while self._waiting and self._free > 0:
            at_most, turn = self._waiting.popleft()
            reserved = min(self._free, at_most)
            self._free -= reserved
            turn.set_result(reserved)

    async def _handle(self, id: str, fields: dict[str, str]) -> None:
        """Answers one entry and settles it. One whose answer can't be published stays, to be taken over."""
        request = _parse(fields)
        if request is None:
            self._stats.malformed += 1
            self._release(1)
            self._report(f"malformed request dropped: entry {id}")
        elif request.is_late():
            self._stats.expired += 1
            self._release(1)
        else:
            try:
                await self._answer(request)
            except Unpublished as error:
                self._stats.failed += 1
                self._report(f"answer not published: {error}")
                return
        try:
            await asyncio.wait_for(self._do("xack", self._stream, self._group, id), _SETTLE_TIMEOUT)
            await asyncio.wait_for(self._do("xdel", self._stream, id), _SETTLE_TIMEOUT)
        except Exception as error:  # it is answered again, and the node drops the second answer
            logger.debug("request not settled: %s", error)

    async def _answer(self, request: Request[Any]) -> None:
        self._attempts += 1
        publisher = Publisher(self._do, request, f"{self._name}/{self._attempts}")
        work = asyncio.ensure_future(self._call(request, publisher))
        work.add_done_callback(lambda _: self._release(1))
        try:
            await asyncio.wait((work,), timeout=request.deadline - time.time())
        finally:
            if not work.done():
                work.add_done_callback(lambda done: None if done.cancelled() else done.exception())
                if self._cancels:
                    work.cancel()
        if not work.done() or work.cancelled() or request.is_late():
            self._stats.expired += 1  # nobody listens any more
            return
        error = work.exception()
        if error is None:
            self._stats.answered += 1
            return
        if isinstance(error, Unpublished):
            raise error
        self._stats.refused += 1
        await publisher.publish(ok=False, error=self._refusal(request, error), more=False)

    async def _call(self, request: Request[Any], publisher: Publisher) -> None:
        """Calls the handler and publishes its parts. Of each it must know whether another one follows."""
        handler = self._handlers.get(request.method)
        if handler is None:
            raise RequestError(400, "unknown_method")
        ready: Any = None
        async for result in self._parts(handler, request):
            for piece in _cut(result, self._settings.part_size):
                if request.is_late():
                    return
                if ready is not None:
                    await publisher.publish(ok=True, result=ready, more=True)
                ready = piece
        if request.is_late():
            return
        if ready is None:
            raise TypeError(f"the handler of {request.method} returned nothing")
        await publisher.publish(ok=True, result=ready, more=False)

    def _refusal(self, request: Request[Any], error: BaseException) -> dict[str, Any]:
        if isinstance(error, RequestError):
            return {"code": error.code, "message": error.word}
        logger.error("request %s not handled", request.method, exc_info=error)
        return {"code": 500, "message": "internal"}

    async def _keep_alive(self) -> None:
        """Shows that the requests being handled are not abandoned: claiming an entry resets its idle time."""
        await asyncio.sleep(self._settings.claim_after / 4)
        ids = list(self._mine)
        if ids:
            await self._do("xclaim", self._stream, self._group, self._name, 0, ids, justid=True)

    async def _forget_dead(self) -> None:
        """Removes the names of workers that were killed, unless they hold requests, which would be lost too."""
        for consumer in await self._do("xinfo_consumers", self._stream, self._group):
            name = text(consumer["name"])
            if name != self._name and not consumer["pending"] and consumer["idle"] >= _FORGET_AFTER * 1000:
                await self._do("xgroup_delconsumer", self._stream, self._group, name)

    async def _leave(self) -> None:
        """Removes the worker's own name if it holds no request. Otherwise the others forget it later."""

        async def leave() -> None:
            pending = await self._do(
                "xpending_range", self._stream, self._group, min="-", max="+", count=1, consumername=self._name)
            if not pending:
                await self._do("xgroup_delconsumer", self._stream, self._group, self._name)

        try:
            await asyncio.wait_for(leave(), _SETTLE_TIMEOUT)
        except Exception as error:
            logger.debug("worker can't leave its group: %s", error)

    def _report(self, what: str) -> None:
        """Logs a warning, each kind once a minute."""
        kind, now = what.split(":")[0], time.monotonic()
        if now - self._reported.get(kind, float("-inf")) >= 60:
            self._reported[kind] = now
            logger.warning("%s (%s)", what, self._stream)


class Unpublished(Exception):
    """A part of an answer could not be published."""


class Publisher:
    """Publishes the parts of one attempt at an answer."""

    def __init__(self, do: Callable[..., Awaitable[Any]], request: Request[Any], attempt: str) -> None:
        self._do = do
        self._request = request
        self._attempt = attempt
        self._part = 0

    async def publish(self, **message: Any) -> None:
        # Of two attempts at a request the node takes the parts of one.
        head = {"id": self._request.id, "worker": self._attempt, "part": self._part}
        self._part += 1
        data = json.dumps({**head, **message}, allow_nan=False)
        try:
            await asyncio.wait_for(self._do("publish", self._request.reply_to, data), _SETTLE_TIMEOUT)
        except Exception as error:
            raise Unpublished(str(error) or type(error).__name__) from error


def _parse(fields: Mapping[str, str]) -> Union[Request[Any], None]:
    """Returns nothing if nobody could be answered."""
    try:
        id, method, reply_to = fields["id"], fields["method"], fields["reply_to"]
        args, deadline = json.loads(fields["args"]), fields["deadline"]
        if not (id and method and reply_to and deadline.isascii() and deadline.isdecimal()):
            return None
        return Request(method, args, int(deadline) / 1000, id, reply_to)
    except (KeyError, ValueError, OverflowError):
        return None


def _entries(reply: Any) -> Iterator[tuple[str, dict[str, str]]]:
    """Returns the entries in a reply, whichever form the client's protocol gives it."""
    if isinstance(reply, tuple) and len(reply) == 2 and isinstance(reply[1], Mapping):
        yield text(reply[0]), {text(name): text(value) for name, value in reply[1].items()}
    elif isinstance(reply, Mapping):
        for value in reply.values():
            yield from _entries(value)
    elif isinstance(reply, (list, tuple)):
        for value in reply:
            yield from _entries(value)


def _cut(result: Any, size: int) -> Iterator[Any]:
    """Divides entities into parts that nodes take. What else an answer holds goes with the last of them."""
    if not isinstance(result, Mapping) or not isinstance(result.get("data"), (list, tuple)):
        yield result
        return
    data = cast("list[Any]", result["data"])
    last = max(0, (len(data) - 1) // size * size)
    for i in range(0, last, size):
        yield {"data": data[i : i + size], "nonexistent": []}
    yield {"nonexistent": [], **result, "data": data[last:]}


async def _pause(seconds: float, stop: asyncio.Event) -> None:
    try:
        await asyncio.wait_for(stop.wait(), seconds)
    except asyncio.TimeoutError:
        pass
