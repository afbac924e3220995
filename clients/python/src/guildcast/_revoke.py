"""Revoking tokens."""

from __future__ import annotations

import math
import time
from typing import Any, Union

from ._names import REVOCATIONS_KEY, REVOKE_CHANNEL
from ._plan import Plan, Retry, attempt, call
from ._publisher import dumps


def revoke_plan(
    sub: Union[str, None], jti: Union[str, None], iat_before: Union[float, str, None], expires: Union[float, None],
    retry: Retry,
) -> Plan[int]:
    if sub is None and jti is None:
        raise ValueError("a revocation has sub or jti")
    # The members in the order of their names, as nodes store them: the same revocation is one.
    record: dict[str, Any] = {}
    if iat_before is not None:
        # iat has whole seconds: those of this one count as before now.
        record["iat_before"] = math.floor(time.time()) + 1 if iat_before == "now" else iat_before
        if isinstance(record["iat_before"], str) or not math.isfinite(record["iat_before"]):
            raise ValueError("iat_before is no time")
    for name, value in (("jti", jti), ("sub", sub)):
        if value is not None:
            if not isinstance(value, str) or not value:
                raise ValueError("sub and jti are texts")
            record[name] = value
    until = time.time() + 30 * 24 * 3600 if expires is None else expires
    if not until > time.time():
        raise ValueError("expires is not in the future")
    # Stored first, so that a node that starts in between reads it or hears it.
    member = {dumps(record): round(until * 1000)}
    yield from attempt("store a revocation", True, lambda n: call("zadd", REVOCATIONS_KEY, member, gt=True), retry)
    message = dumps({**record, "exp": until})
    return int((yield from attempt(
        "publish a revocation", True, lambda n: call("publish", REVOKE_CHANNEL, message), retry)))
