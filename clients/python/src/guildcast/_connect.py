"""Connecting to Redis by the URLs that nodes take."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any, Union
from urllib.parse import unquote


@dataclass
class Target:
    mode: str  # "single", "sentinel" or "cluster"
    hosts: list[tuple[str, int]]
    primary: str
    #: Arguments of redis-py's clients.
    options: dict[str, Any]


def parse(url: str) -> Target:
    """Reads a URL. No error quotes it, because it may hold a password."""
    match = re.fullmatch(r"(rediss?)(\+sentinel|\+cluster)?://(?:([^@/]*)@)?([^/?#@]*)(?:/([^?#@]*))?", url)
    if not match:
        raise ValueError("redis URL: not redis://, redis+sentinel:// or redis+cluster:// with hosts")
    scheme, kind, user, hosts, path = match.groups()
    mode = kind[1:] if kind else "single"
    target = Target(mode, [_address(host, 26379 if mode == "sentinel" else 6379) for host in hosts.split(",")], "", {})
    if scheme == "rediss":
        target.options["ssl"] = True
    if user is not None:
        name, _, password = user.partition(":")
        if name:
            target.options["username"] = unquote(name)
        if password:
            target.options["password"] = unquote(password)
    parts = [part for part in (path or "").split("/") if part]
    if mode == "sentinel":
        if not parts:
            raise ValueError("redis URL: the primary's name is missing after the Sentinels")
        target.primary = parts.pop(0)
    if mode == "single" and len(target.hosts) > 1:
        raise ValueError("redis URL: more than one host")
    if mode == "cluster" and parts == ["0"]:
        parts = []
    if len(parts) > (mode != "cluster") or not all(part.isdecimal() for part in parts):
        raise ValueError("redis URL: what follows the hosts is not a database's number")
    if parts:
        target.options["db"] = int(parts[0])
    return target


def _address(text: str, port: int) -> tuple[str, int]:
    match = re.fullmatch(r"(\[[^\]]+\]|[^:]*)(?::(\d+))?", text)
    if not match:
        raise ValueError("redis URL: a host is not host:port")
    return (match[1] or "localhost").strip("[]"), int(match[2] or port)


def options(target: Target, retry: Any) -> dict[str, Any]:
    """Returns the arguments of a client. It repeats nothing by itself, so that what is uncertain is known to be."""
    return {"socket_timeout": 3.0, "socket_connect_timeout": 3.0, "retry": retry, **target.options}


def sentinel_options(target: Target) -> dict[str, Union[float, bool]]:
    """Returns the arguments of the clients of the Sentinels."""
    return {"socket_timeout": 3.0, "socket_connect_timeout": 3.0, **({"ssl": True} if "ssl" in target.options else {})}
