"""What the polls of all providers are made of: URLs with the key in them, and rows become found."""

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any, TypeAlias
from urllib.parse import quote, urlencode

import msgspec

from core.secret import Secret

from ..callback import Callback, Fields, Happening, Malformed
from .questions import FoundMessage, Notice

#: `Source.normalize`.
Normalize: TypeAlias = Callable[[Fields, Callback], Sequence[Happening]]
#: Messages of one row that are recorded together.
MOST_TOGETHER = 100
#: A row with more is stored in parts, and of its other fields each part has so many so short ones.
_MOST_FIELDS, _SHORT = 20, 100


def with_query(url: str, **params: str | None) -> Secret:
    """`https://api.example/x?cmd=…&api_key=…`; a parameter that is None is left out."""
    given = {name: value for name, value in params.items() if value is not None}
    return Secret(f"{url}?{urlencode(given)}")


def with_path(url: str, *segments: str) -> Secret:
    """`https://api.example/apiv2/KEY/nc/requests`."""
    return Secret("/".join([url.rstrip("/"), *(quote(segment, safe="") for segment in segments)]))


def polled(row: Mapping[str, Any], now: datetime) -> Callback:
    """A row of an answer, as if it had been sent to us."""
    body = json.dumps(row, ensure_ascii=False).encode()
    return Callback(headers=(), body=body, peer="", received=now, channel="poll")


def parts(
    row: Mapping[str, Any],
    name: str,
    messages: Sequence[str],
    *,
    join: Callable[[Sequence[str]], object] = list,
) -> Iterator[tuple[Mapping[str, Any], Sequence[str]]]:
    """Yield a row, and the messages that are in its field of that name.

    A row with more than MOST_TOGETHER messages is yielded in parts with as many each, so that what
    is stored grows with what came, and a huge row does not become one huge transaction.
    """
    if len(messages) <= MOST_TOGETHER:
        yield row, messages
        return
    short = [
        (field, value)
        for field, value in row.items()
        if field != name and isinstance(value, str) and len(value) <= _SHORT
    ]
    for start in range(0, len(messages), MOST_TOGETHER):
        some = messages[start : start + MOST_TOGETHER]
        yield {**dict(short[:_MOST_FIELDS]), name: join(some)}, some


def found(
    normalize: Normalize, fields: Fields, row: Mapping[str, Any], now: datetime, *, about: str
) -> Iterator[FoundMessage | Notice]:
    """Yield the message in a row, read as a callback with these fields.

    A row that cannot be read is a Notice about the command `about`.
    """
    callback = polled(row, now)
    happenings = normalized(normalize, fields, callback)
    if happenings is None:
        yield Notice(word="unreadable_row", about=about)
    elif happenings:
        yield FoundMessage(happenings=happenings, callback=callback)


def normalized(
    normalize: Normalize, fields: Fields, callback: Callback
) -> tuple[Happening, ...] | None:
    """Return the happenings in these fields, or None where the source cannot read them."""
    try:
        return tuple(normalize(fields, callback))
    except Malformed:
        return None


def told(happening: Happening, **more: object) -> Happening:
    """The same with what the answer says besides, where the event says nothing yet."""
    data: Any = happening.data
    news = {
        name: value
        for name, value in more.items()
        if value is not None and getattr(data, name, value) is None
    }
    return msgspec.structs.replace(happening, data=msgspec.structs.replace(data, **news))
