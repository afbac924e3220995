"""Filling the pools that nodes answer from."""

from __future__ import annotations

from typing import Any, Iterable, Mapping, Sequence, Union

from ._names import check_guild, online_key, pool_key
from ._plan import Plan, Retry, attempt, call, text
from ._publisher import dumps

#: The kind of the event that says that an entity of a type has changed.
_KINDS = {
    "member": "member", "channel": "channel", "role": "role", "autoResponse": "auto_response",
    "settingValue": "setting", "user": "user", "guild": "guild", "customEmoji": "emoji",
}
#: How many entities one command writes, so that none holds Redis up.
_BATCH = 500


class PoolsPlans:
    def __init__(self, client: Any, *, retry: Retry = Retry()) -> None:
        self._client = client
        self._retry = retry

    def _do(self, what: str, name: str, *args: Any, **kwargs: Any) -> Plan[Any]:
        return (yield from attempt(what, True, lambda n: call(name, *args, **kwargs), self._retry))

    def _put(self, guild: Union[str, None], type: str, entities: Iterable[Mapping[str, Any]]) -> Plan[None]:
        keys = _keys(guild, type)
        fields = [(_id(entity), dumps(entity)) for entity in entities]
        for key in keys:
            for i in range(0, len(fields), _BATCH):
                some = dict(fields[i : i + _BATCH])
                yield from self._do(f"write {key}", "hset", key, mapping=some)

    def _remove(self, guild: Union[str, None], type: str, ids: Sequence[str]) -> Plan[None]:
        for key in _keys(guild, type):
            for i in range(0, len(ids), _BATCH):
                yield from self._do(f"remove from {key}", "hdel", key, *ids[i : i + _BATCH])

    def _replace(self, guild: str, type: str, entities: Iterable[Mapping[str, Any]]) -> Plan[None]:
        keep = list(entities)
        yield from self._put(guild, type, keep)
        key = pool_key(guild, type)
        have = yield from self._do(f"read {key}", "hkeys", key)
        gone = {text(field) for field in have}.difference(_id(entity) for entity in keep)
        yield from self._remove(guild, type, sorted(gone))

    def _online(self, what: str, name: str, guild: str, ids: Sequence[str]) -> Plan[None]:
        check_guild(guild)
        if ids:
            yield from self._do(what, name, online_key(guild), *ids)


def _keys(guild: Union[str, None], type: str) -> list[str]:
    """Returns the pools of a guild's entity: users and guilds are in a global one, emojis in both."""
    if type not in _KINDS:
        raise ValueError(f"there is no type of entities {type!r}")
    if guild is not None:
        check_guild(guild)
    if type in ("user", "guild"):
        return [pool_key(None, type)]
    if type == "customEmoji":
        return [pool_key(None, type)] if guild is None else [pool_key(guild, type), pool_key(None, type)]
    if guild is None:
        raise ValueError(f"entities of type {type} belong to a guild")
    return [pool_key(guild, type)]


def changed(guild: str, type: str, data: Sequence[Mapping[str, Any]], gone: Sequence[str]) -> dict[str, Any]:
    """Returns the event that says that entities have changed, or are gone."""
    check_guild(guild)
    if type not in _KINDS:
        raise ValueError(f"there is no type of entities {type!r}")
    payload = {"type": type, "guild_id": guild, "data": [dict(entity) for entity in data], "nonexistent": list(gone)}
    return {"kind": _KINDS[type], "payload": payload}


def _id(entity: Mapping[str, Any]) -> str:
    id = entity["id"] if isinstance(entity, Mapping) and "id" in entity else None
    if not isinstance(id, str) or not id:
        raise ValueError("an entity has an id, which is a str")
    return id
