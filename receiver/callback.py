"""A callback as a provider sent it, and what it becomes."""

import re
from collections.abc import Mapping
from datetime import datetime

import msgspec

from core.copies import Copy
from core.event import Data

#: RFC 9110, 8.3.1.
_CONTENT_TYPE = re.compile(
    r"[!#$%&'*+.^_`|~0-9A-Za-z-]+/[!#$%&'*+.^_`|~0-9A-Za-z-]+( ?;[ -~]{1,80})?"
)


#: What a form, its parts or a JSON object decode to. A number in JSON stays the text it was sent
#: as (`Number`), so that `1.20` is not `1.2`; objects and arrays nest.
Fields = Mapping[str, object]


class Number(str):
    """A JSON number, as the digits that were sent."""

    __slots__ = ()


class Malformed(Exception):
    """Authentic, but not understood: the callback goes to quarantine with this reason.

    `reason` is one of our words (`malformed`, `identity`, `unknown_event`, `encoding`, `empty`);
    `detail` names fields, never values.
    """

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(f"{reason}: {detail}")
        self.reason, self.detail = reason, detail


class Callback(msgspec.Struct, frozen=True, kw_only=True):
    """The HTTP request as a provider sent it, byte for byte."""

    #: Names in lower case, latin-1 as HTTP has them, in the order they came; no proxy's secrets.
    headers: tuple[tuple[str, str], ...]
    body: bytes
    #: The address it came from, trusted proxies looked through.
    peer: str
    #: When its last byte was here. Aware, UTC.
    received: datetime
    #: Proven to be sent by ourselves, as a sample.
    sample: bool = False
    #: `poll` where it is what a provider answered when it was asked.
    channel: str = "callback"

    def header(self, name: str) -> str | None:
        """The first field of that (lower case) name."""
        for key, value in self.headers:
            if key == name:
                return value
        return None

    def joined(self, name: str) -> str:
        """All fields of that (lower case) name, as one (RFC 9110, 5.3)."""
        return ", ".join([value for key, value in self.headers if key == name])


class Key(msgspec.Struct, frozen=True, kw_only=True):
    """What makes two callbacks of one source one event.

    It becomes bytes that begin with the provider's time, so that keys grow with time (a random
    key costs SQLite several times the work), and end in a keyed hash of the parts.
    """

    #: Of the provider's time as sent, seconds since 2000-01-01; 0 where it said none. Where an id
    #: alone decides, that number: it grows too.
    second: int = 0
    parts: tuple[str, ...]


class Happening(msgspec.Struct, frozen=True, kw_only=True):
    """One thing a callback tells, in our words; the pipeline makes an event of it."""

    subject: str
    #: RFC 3339, UTC; None where no time that makes sense was sent (`data.time_from` is `received`).
    time: str | None
    data: Data
    keys: tuple[Key, ...]
    #: How a copy that comes another way is known, where keys cannot tell; None: keys can.
    twin: Copy | None = None


class Sample(msgspec.Struct, frozen=True, kw_only=True):
    """A callback as this provider would send it, for `smshook send`."""

    content_type: str
    body: bytes
