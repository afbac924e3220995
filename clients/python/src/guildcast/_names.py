"""The names on Redis that nodes and backends share; docs/reference/redis.md lists them."""

from __future__ import annotations

import re
from typing import Any, Union

REVOKE_CHANNEL = "guildcast:revoke"
REVOCATIONS_KEY = "guildcast:revocations"


def pool_key(guild: Union[str, None], type: str) -> str:
    return f"guildcast:pool:{{{'global' if guild is None else guild}}}:{type}"


def online_key(guild: str) -> str:
    return f"guildcast:online:{{{guild}}}"


def history_key(guild: str) -> str:
    return f"guildcast:history:{{{guild}}}"


def request_stream(service: str) -> str:
    return f"guildcast:requests:{service}"


def topic_channel(prefix: str, guild: str, logs: bool, sharded: bool) -> str:
    """Returns the channel of a guild's events, or of its log entries."""
    return prefix + (f"{{{guild}}}" if sharded else guild) + ("_logs" if logs else "")


def check_guild(guild: Any) -> None:
    if not isinstance(guild, str) or not re.fullmatch(r"[0-9]{1,20}", guild):
        raise ValueError("a guild's id is a str of 1 to 20 digits")
