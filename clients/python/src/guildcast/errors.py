"""The errors of this package."""

from __future__ import annotations


class GuildcastError(Exception):
    """The root of all errors that this package raises, so that one except can have them."""


class InvalidEventError(GuildcastError, ValueError):
    """The event would be dropped by every node, or by Redis. Nothing was published."""


class RedisRefusedError(GuildcastError):
    """Redis answered, and refused: a right is missing (NOPERM), a key has another type (WRONGTYPE), memory is full.

    Repeating does not help before an operator acts.
    """


class RedisUnavailableError(GuildcastError):
    """Redis could not be reached, or did not answer, as long as the caller was ready to wait.

    `uncertain` says whether Redis may have carried the command out all the same: it was sent, and the answer was lost.
    A durable event can be published again with the same idempotency_key without coming twice.
    """

    def __init__(self, message: str, uncertain: bool) -> None:
        super().__init__(message)
        self.uncertain = uncertain


class RequestError(GuildcastError):
    """What a handler of requests raises to refuse one.

    The client gets `code` (as in HTTP, 400 to 599) and `word`, which is stable and for programs.
    """

    def __init__(self, code: int, word: str) -> None:
        super().__init__(word)
        self.code = code
        self.word = word
