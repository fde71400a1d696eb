"""A callback as a provider sent it, and the happenings that it becomes."""

from collections.abc import Mapping
from datetime import datetime

import msgspec

from core.copies import Copy
from core.event import Data

#: A decoded form or JSON object. JSON objects and arrays nest, and a JSON number is a `Number`.
Fields = Mapping[str, object]


class Number(str):
    """A JSON number with the digits as sent, so that `1.20` is not `1.2`."""

    __slots__ = ()


class Malformed(Exception):
    """An authentic callback was not understood. It goes to quarantine with this reason.

    `reason` is one of our words (`malformed`, `identity`, `unknown_event`, `encoding`, `empty`);
    `detail` names fields, never values.
    """

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(f"{reason}: {detail}")
        self.reason, self.detail = reason, detail


class Callback(msgspec.Struct, frozen=True, kw_only=True):
    """The HTTP request as a provider sent it, byte for byte."""

    #: Names in lower case, latin-1 as HTTP has them, in the order received.
    headers: tuple[tuple[str, str], ...]
    body: bytes
    #: The client's address, as trusted proxies report it.
    peer: str
    #: When its last byte was received. Aware, UTC.
    received: datetime
    #: Whether `smshook send` sent it, proven by its signature.
    sample: bool = False
    #: `callback`, or `poll` for a row of a provider's answer.
    channel: str = "callback"

    def header(self, name: str) -> str | None:
        """Return the first field of that (lower case) name."""
        for key, value in self.headers:
            if key == name:
                return value
        return None

    def joined(self, name: str) -> str:
        """Return all fields of that (lower case) name, joined as in RFC 9110, 5.3."""
        if self.header(name) is None:
            return ""  # nearly always
        return ", ".join([value for key, value in self.headers if key == name])


class Key(msgspec.Struct, frozen=True, kw_only=True):
    """A dedupe key: two callbacks of one source with the same key are one event.

    It is stored as the provider's time and a keyed hash of the parts. Keys that grow with time cost
    SQLite a fraction of the work that random keys do.
    """

    #: The provider's time as sent, in seconds since 2000-01-01; 0 if it sent no time. It is the id
    #: of the message if that alone identifies it, because ids grow, too.
    second: int = 0
    parts: tuple[str, ...]


class Happening(msgspec.Struct, frozen=True, kw_only=True):
    """One thing that a callback reports, in our words; the service makes an event of it."""

    subject: str
    #: RFC 3339, UTC; None where no plausible time was sent (`data.time_from` is `received`).
    time: str | None
    data: Data
    keys: tuple[Key, ...]
    #: Identifies the same message received another way; None: the keys are enough.
    copy: Copy | None = None


class Sample(msgspec.Struct, frozen=True, kw_only=True):
    """A callback as this provider would send it, for `smshook send` and for sink tests."""

    content_type: str
    body: bytes
