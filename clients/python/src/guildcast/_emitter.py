"""Emitting to the sockets of the cluster, in the protocol of socket.io-redis."""

from __future__ import annotations

import json
from typing import Any, Iterable, Union

from ._msgpack import pack
from ._plan import Plan, Retry, attempt, publish
from .errors import InvalidEventError

_RESERVED = frozenset(("connect", "connect_error", "disconnect", "disconnecting", "newListener", "removeListener"))

Rooms = Union[str, Iterable[str]]


class EmitterPlans:
    def __init__(self, client: Any, *, key: str = "socket.io", retry: Retry = Retry()) -> None:
        self._client = client
        self._key = key
        self._retry = retry

    def _emit(
        self, event: str, args: tuple[Any, ...], to: Rooms, except_: Rooms, namespace: str,
        volatile: bool, compress: Union[bool, None],
    ) -> Plan[int]:
        if not isinstance(event, str) or event in _RESERVED:
            raise InvalidEventError(f"an event can't be named {event!r}")
        namespace = _slash(namespace)
        rooms = _names(to)
        flags: dict[str, bool] = {}
        if volatile:
            flags["volatile"] = True
        if compress is not None:
            flags["compress"] = compress
        packet = {"type": 2, "data": [event, *args], "nsp": namespace}
        options = {"rooms": rooms, "flags": flags, "except": _names(except_)}
        try:
            message = pack(["emitter", packet, options])
        except (TypeError, ValueError) as error:
            raise InvalidEventError(f"emit {event!r}: {error}") from error
        channel = f"{self._key}#{namespace}#" + (f"{rooms[0]}#" if len(rooms) == 1 else "")
        return (yield from self._send(f"emit {event!r}", channel, message))

    def _request(self, what: str, namespace: str, request: dict[str, Any]) -> Plan[int]:
        try:
            message = json.dumps(request, allow_nan=False, ensure_ascii=False, separators=(",", ":")).encode()
        except (TypeError, ValueError) as error:
            raise InvalidEventError(f"{what}: {error}") from error
        return (yield from self._send(what, f"{self._key}-request#{_slash(namespace)}#", message))

    def _join(self, rooms: Rooms, to: Rooms, except_: Rooms, namespace: str) -> Plan[int]:
        request = {"type": 2, "opts": _selection(to, except_), "rooms": _names(rooms)}
        return self._request("join sockets", namespace, request)

    def _leave(self, rooms: Rooms, to: Rooms, except_: Rooms, namespace: str) -> Plan[int]:
        request = {"type": 3, "opts": _selection(to, except_), "rooms": _names(rooms)}
        return self._request("leave sockets", namespace, request)

    def _disconnect(self, to: Rooms, except_: Rooms, namespace: str, close: bool) -> Plan[int]:
        request = {"type": 4, "opts": _selection(to, except_), "close": close}
        return self._request("disconnect sockets", namespace, request)

    def _server_side_emit(self, event: str, args: tuple[Any, ...], namespace: str) -> Plan[int]:
        return self._request("emit to servers", namespace, {"uid": "emitter", "type": 6, "data": [event, *args]})

    def _send(self, what: str, channel: str, message: bytes) -> Plan[int]:
        # What one emitter emits stays in order, in a cluster too.
        return (yield from attempt(what, False, lambda n: publish(self._key, channel, message), self._retry))


def _names(rooms: Rooms) -> list[str]:
    names = [rooms] if isinstance(rooms, str) else list(dict.fromkeys(rooms))
    for name in names:
        if not isinstance(name, str):
            raise InvalidEventError(f"a room is a str, not {name!r}")
    return names


def _selection(to: Rooms, except_: Rooms) -> dict[str, list[str]]:
    return {"rooms": _names(to), "except": _names(except_)}


def _slash(namespace: str) -> str:
    return namespace if namespace.startswith("/") else "/" + namespace
