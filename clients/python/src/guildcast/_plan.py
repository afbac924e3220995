"""What is to be done with Redis, whether or not with asyncio.

A plan is a generator: it yields what to do next and is sent what came of it. A driver (`drive`, `drive_async`) does it.
"""

from __future__ import annotations

import asyncio
import random
import re
import time
from dataclasses import dataclass, field
from typing import Any, Callable, Generator, Mapping, TypeVar, Union

from redis import exceptions

from .errors import RedisRefusedError, RedisUnavailableError

T = TypeVar("T")


@dataclass(frozen=True)
class Call:
    """A method of the Redis client. In a cluster the server of the slot of `pin` gets it, if that is set."""

    name: str
    args: tuple[Any, ...]
    kwargs: Mapping[str, Any] = field(default_factory=dict)
    pin: Union[str, None] = None


@dataclass(frozen=True)
class Pause:
    seconds: float


Plan = Generator[Union[Call, Pause], Any, T]


@dataclass(frozen=True)
class Retry:
    """How a command is repeated that Redis has not answered. Times are in seconds."""

    #: How long one call may take, with all of its attempts.
    timeout: float = 10.0
    #: How long one attempt waits, with asyncio. Without it the client's socket_timeout counts; connect sets it to 3.
    attempt_timeout: float = 3.0
    #: The pause before the second attempt; each later one is twice as long, with jitter.
    first: float = 0.05
    #: The longest pause.
    most: float = 1.0


def call(name: str, *args: Any, **kwargs: Any) -> Plan[Any]:
    return (yield Call(name, args, kwargs))


def publish(pin: str, channel: str, message: Union[str, bytes]) -> Plan[int]:
    """Publishes. In a cluster any server takes it, but only what one server takes stays in order."""
    return int((yield Call("publish", (channel, message), pin=pin)))


def attempt(what: str, repeatable: bool, steps: Callable[[int], Plan[T]], retry: Retry) -> Plan[T]:
    """Calls Redis until it answers.

    What must not be done twice (repeatable is false) is repeated only while it is certain that it was not sent.
    """
    end = time.monotonic() + retry.timeout
    uncertain = False
    n = 0
    while True:
        try:
            return (yield from steps(n))
        except (exceptions.RedisError, exceptions.RedisClusterException, OSError, asyncio.TimeoutError) as error:
            verdict = judge(error)
            if verdict == "refused":
                raise RedisRefusedError(f"{what}: {error}") from error
            uncertain = uncertain or verdict == "lost"
            pause = min(retry.first * 2**n, retry.most) * (0.5 + random.random() / 2)
            if (uncertain and not repeatable) or time.monotonic() + pause >= end:
                raise RedisUnavailableError(f"{what}: {error or type(error).__name__}", uncertain) from error
        yield Pause(pause)
        n += 1


_passing = (
    exceptions.BusyLoadingError, exceptions.ReadOnlyError, exceptions.MasterDownError, exceptions.ClusterDownError,
    exceptions.TryAgainError, exceptions.MovedError, exceptions.AskError,
)
_refused = (
    exceptions.ResponseError, exceptions.AuthenticationError, exceptions.AuthorizationError, exceptions.DataError,
)


def judge(error: BaseException) -> str:
    """Says what an error means.

    "refused" by Redis for good, "unsent" (also if Redis refuses for the moment), or "lost": the command may have been
    carried out.
    """
    text = str(error)
    if isinstance(error, _passing) or text.startswith("BUSY "):
        return "unsent"
    if isinstance(error, _refused):
        return "refused"
    # redis-py has one type of errors for a connection that can't be made and one that is lost.
    if re.search(r"connecting to|No master found|cannot be connected|Connection refused|Too many connections", text):
        return "unsent"
    return "lost"


def drive(client: Any, plan: Plan[T]) -> T:
    try:
        step = next(plan)
        while True:
            try:
                value = _perform(client, step)
            except Exception as error:  # the plan decides
                step = plan.throw(error)
            else:
                step = plan.send(value)
    except StopIteration as end:
        result: T = end.value
        return result


def _perform(client: Any, step: Union[Call, Pause]) -> Any:
    if isinstance(step, Pause):
        return time.sleep(step.seconds)
    if step.pin is not None and hasattr(client, "get_node_from_key"):
        node = client.get_node_from_key(step.pin)
        return client.execute_command(step.name.upper(), *step.args, target_nodes=node)
    return getattr(client, step.name)(*step.args, **step.kwargs)


async def drive_async(client: Any, plan: Plan[T], retry: Retry) -> T:
    try:
        step = next(plan)
        while True:
            try:
                value = await _perform_async(client, step, retry)
            except Exception as error:  # the plan decides
                step = plan.throw(error)
            else:
                step = plan.send(value)
    except StopIteration as end:
        result: T = end.value
        return result


async def _perform_async(client: Any, step: Union[Call, Pause], retry: Retry) -> Any:
    if isinstance(step, Pause):
        return await asyncio.sleep(step.seconds)
    if step.pin is not None and hasattr(client, "get_node_from_key"):
        await client.initialize()
        node = client.get_node_from_key(step.pin)
        answer = client.execute_command(step.name.upper(), *step.args, target_nodes=node)
    else:
        answer = getattr(client, step.name)(*step.args, **step.kwargs)
    return await asyncio.wait_for(answer, retry.attempt_timeout)


def text(value: Any) -> str:
    """Returns a text that a client may have left as bytes."""
    return value.decode() if isinstance(value, bytes) else str(value)
