"""MessagePack as the emitters of Node.js write it, to the byte. The format: github.com/msgpack/msgpack, spec.md."""

from __future__ import annotations

import datetime
import struct
from typing import Any, Mapping

#: Values within values. A node reads no deeper ones.
_DEEPEST = 512


def pack(value: Any) -> bytes:
    """Encodes what JSON can hold, and bytes and datetimes. It raises TypeError or ValueError for anything else."""
    out = bytearray()
    _append(out, value, 0)
    return bytes(out)


def _append(out: bytearray, value: Any, depth: int) -> None:
    if depth > _DEEPEST:
        raise ValueError("values are nested too deeply")
    if value is None:
        out.append(0xC0)
    elif isinstance(value, bool):
        out.append(0xC3 if value else 0xC2)
    elif isinstance(value, int):
        _append_int(out, value)
    elif isinstance(value, float):
        out += struct.pack(">Bd", 0xCB, value)
    elif isinstance(value, str):
        data = value.encode()
        _append_head(out, len(data), ((32, 0xA0), (1 << 8, 0xD9), (1 << 16, 0xDA), (1 << 32, 0xDB)))
        out += data
    elif isinstance(value, (bytes, bytearray, memoryview)):
        data = bytes(value)
        _append_head(out, len(data), ((0, 0), (1 << 8, 0xC4), (1 << 16, 0xC5), (1 << 32, 0xC6)))
        out += data
    elif isinstance(value, datetime.datetime):
        _append_time(out, value)
    elif isinstance(value, Mapping):
        _append_head(out, len(value), ((16, 0x80), (0, 0), (1 << 16, 0xDE), (1 << 32, 0xDF)))
        for key, item in value.items():
            if not isinstance(key, str):
                raise TypeError(f"a key is no str: {key!r}")
            _append(out, key, depth + 1)
            _append(out, item, depth + 1)
    elif isinstance(value, (list, tuple)):
        _append_head(out, len(value), ((16, 0x90), (0, 0), (1 << 16, 0xDC), (1 << 32, 0xDD)))
        for item in value:
            _append(out, item, depth + 1)
    else:
        raise TypeError(f"can't encode {type(value).__name__}")


def _append_head(out: bytearray, length: int, forms: tuple[tuple[int, int], ...]) -> None:
    """Appends a length. The forms are for lengths below a limit: in the first byte itself, in 1, 2, and 4 more."""
    for (limit, code), size in zip(forms, (None, "B", "H", "I")):
        if length < limit:
            out += bytes((code | length,)) if size is None else struct.pack(">B" + size, code, length)
            return
    raise ValueError("too long")


def _append_int(out: bytearray, value: int) -> None:
    if -0x20 <= value < 0x80:
        out += struct.pack(">b" if value < 0 else ">B", value)
        return
    signed = value < 0
    code = 0xD0 if signed else 0xCC
    for i, size in enumerate("bhiq" if signed else "BHIQ"):
        bits = 8 << i
        if (-(1 << (bits - 1)) <= value) if signed else value < 1 << bits:
            out += struct.pack(">B" + size, code + i, value)
            return
    raise ValueError("an integer of more than 64 bits")


def _append_time(out: bytearray, value: datetime.datetime) -> None:
    """Appends a time in milliseconds, which is what JavaScript has. One without a zone is local, as ever in Python."""
    since = value.astimezone(datetime.timezone.utc) - datetime.datetime(1970, 1, 1, tzinfo=datetime.timezone.utc)
    milliseconds = since // datetime.timedelta(milliseconds=1)
    seconds, rest = divmod(milliseconds, 1000)
    nanoseconds = rest * 1_000_000
    if 0 <= seconds < 1 << 32 and nanoseconds == 0:
        out += struct.pack(">BbI", 0xD6, -1, seconds)
    elif 0 <= seconds < 1 << 34:
        out += struct.pack(">BbQ", 0xD7, -1, nanoseconds << 34 | seconds)
    else:
        out += struct.pack(">BBbIq", 0xC7, 12, -1, nanoseconds, seconds)
