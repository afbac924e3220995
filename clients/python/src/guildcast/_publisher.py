"""Publishing guild events."""

from __future__ import annotations

import hashlib
import json
import re
import time
import uuid
from collections import OrderedDict
from typing import Any, Mapping, Union

from redis.exceptions import NoScriptError

from ._names import check_guild, history_key, topic_channel
from ._plan import Plan, Retry, attempt, call, publish, text
from ._script import SCRIPT
from .errors import InvalidEventError

_SHA = hashlib.sha1(SCRIPT.encode()).hexdigest()

#: Remembered guilds. What is forgotten costs the script a look through the guild's history.
_REMEMBERED = 10_000
_MOST_BYTES = 4 << 20

_PERMISSIONS = frozenset((
    "ADMINISTRATOR", "VIEW_PUBLIC_LOGS", "VIEW_PRIVATE_LOGS", "REVERT_LOG_ACTIONS", "ADD_AUTO_RESPONSE",
    "IGNORE_AUTO_RESPONSE_QUOTA", "EDIT_ANY_AUTO_RESPONSE", "DELETE_ANY_AUTO_RESPONSE", "VIEW_SETTINGS",
    "MANAGE_SETTINGS", "EXEC_PURGE_CMD",
))
_RESERVED = frozenset((
    "connect", "connect_error", "connection", "disconnect", "disconnecting", "newListener", "removeListener", "error",
))
#: What a node reads itself from an envelope; other members would be lost.
_ENVELOPE = frozenset(("kind", "payload", "event", "private", "requires", "ts"))


class PublisherPlans:
    def __init__(
        self, client: Any, *, topic_prefix: str = "", sharded: bool = False, max_entries: int = 1_000,
        max_age: float = 3_600.0, retry: Retry = Retry(),
    ) -> None:
        self._client = client
        self._prefix = topic_prefix
        self._sharded = sharded
        self._bounds = (str(max_entries), str(round(max_age * 1000)))
        self._retry = retry
        #: Of each guild, the position of what was published last: what is published again is behind it.
        self._last: OrderedDict[str, str] = OrderedDict()

    def _publish(self, guild: str, event: Mapping[str, Any], logs: bool) -> Plan[int]:
        check_guild(guild)
        channel = topic_channel(self._prefix, guild, logs, self._sharded)
        message, _ = encode(guild, event)

        def steps(n: int) -> Plan[int]:
            if self._sharded:
                return int((yield from call("spublish", channel, message)))
            return (yield from publish(guild, channel, message))

        return (yield from attempt(f"publish on {channel}", False, steps, self._retry))

    def _publish_durably(
        self, guild: str, event: Mapping[str, Any], logs: bool, idempotency_key: Union[str, None],
    ) -> Plan[str]:
        check_guild(guild)
        channel = topic_channel(self._prefix, guild, logs, self._sharded)
        message, beginning = encode(guild, event, str(uuid.uuid4()) if idempotency_key is None else idempotency_key)
        # What has a key of the caller's may be anywhere in the history, and so may what an earlier attempt left there.
        after = self._last.get(guild, "0-0") if idempotency_key is None else "0-0"

        def steps(n: int) -> Plan[str]:
            args = (1, history_key(guild), channel, message, *self._bounds, beginning, after if n == 0 else "0-0")
            try:
                return text((yield from call("evalsha", _SHA, *args)))
            except NoScriptError:  # the first time, and after Redis was started anew
                return text((yield from call("eval", SCRIPT, *args)))

        position = yield from attempt(f"publish durably on {channel}", True, steps, self._retry)
        self._remember(guild, position)
        return position

    def _remember(self, guild: str, position: str) -> None:
        self._last[guild] = position
        try:
            self._last.move_to_end(guild)
            if len(self._last) > _REMEMBERED:
                self._last.popitem(last=False)
        except KeyError:  # another thread was faster
            pass


def encode(guild: str, event: Mapping[str, Any], key: Union[str, None] = None) -> tuple[str, str]:
    """Returns the message for an event, and how it begins, which is unique to it.

    It refuses what nodes would drop and what, by a mistake, nobody would see.
    """
    if not isinstance(event, Mapping):
        raise InvalidEventError("an event is a mapping")
    if "event" in event:
        name = event["event"]
        if (
            not isinstance(name, str) or not name or len(name.encode()) > 128 or name in _RESERVED
            or re.search(r"[\x00-\x1f\x7f]", name)
        ):
            raise InvalidEventError(f"an event can't be named {name!r}")
    if not isinstance(event.get("private", False), bool):
        raise InvalidEventError("private is no bool")
    if "requires" in event:
        _check_requires(event["requires"])
    action = "action_number" in event
    message = _encode_action(guild, event) if action else _encode_envelope(event, key)
    if len(message.encode()) > _MOST_BYTES:
        raise InvalidEventError("the event is larger than 4 MiB")
    return message, message if action or key is None else _beginning(key)


def _encode_action(guild: str, action: Mapping[str, Any]) -> str:
    number = action["action_number"]
    if not isinstance(number, int) or isinstance(number, bool) or number < 0:
        raise InvalidEventError("action_number is no whole number")
    if not isinstance(action.get("id"), str) or not action["id"]:
        raise InvalidEventError("a log action has an id, which is unique")
    if action.get("guild_id", guild) != guild:
        raise InvalidEventError("guild_id is another guild")
    if "kind" in action or "payload" in action:
        raise InvalidEventError("a log action has neither kind nor payload")
    return dumps(dict(action))


def _encode_envelope(envelope: Mapping[str, Any], key: Union[str, None]) -> str:
    if not isinstance(envelope.get("kind"), str) or not envelope["kind"]:
        raise InvalidEventError("an event without a kind reaches nobody")
    if "payload" not in envelope:
        raise InvalidEventError("an event without a payload would be dropped")
    for name in envelope:
        if name not in _ENVELOPE:
            raise InvalidEventError(f"an event has no member {name!r}: put it into payload")
    if key is not None and not re.fullmatch(r"[A-Za-z0-9_.:-]{1,128}", key):
        raise InvalidEventError("an idempotency key is 1 to 128 of A-Z a-z 0-9 . _ : -")
    head = {"ts": round(time.time() * 1000), **envelope}
    payload = head.pop("payload")
    return f'{"{" if key is None else _beginning(key)}{dumps(head)[1:-1]},"payload":{dumps(payload)}}}'


def _beginning(key: str) -> str:
    return f'{{"idempotency_key":"{key}",'


def _check_requires(requires: Any) -> None:
    for one in requires if isinstance(requires, (list, tuple)) else (requires,):
        bits = isinstance(one, int) and not isinstance(one, bool) and 0 <= one < 1 << 64
        if not bits and not (isinstance(one, str) and one in _PERMISSIONS):
            raise InvalidEventError(f"nobody would get it: there is no permission {one!r}")


def dumps(value: Any) -> str:
    """Returns JSON as browsers read it: without NaN."""
    try:
        return json.dumps(value, allow_nan=False, separators=(",", ":"))
    except (TypeError, ValueError) as error:
        raise InvalidEventError(f"not JSON: {error}") from error
