"""Tools for the polls of all providers: URLs with a key, and rows of answers as messages."""

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
#: Messages of one row that are stored together.
MOST_TOGETHER = 100
#: The number and length of the other fields that each part of a longer row keeps.
_MOST_FIELDS, _SHORT = 20, 100


def with_query(url: str, **params: str | None) -> Secret:
    """Return `https://api.example/x?cmd=…&api_key=…`, without parameters that are None."""
    given = {name: value for name, value in params.items() if value is not None}
    return Secret(f"{url}?{urlencode(given)}")


def with_path(url: str, *segments: str) -> Secret:
    """Return `https://api.example/apiv2/KEY/nc/requests`."""
    return Secret("/".join([url.rstrip("/"), *(quote(segment, safe="") for segment in segments)]))


def as_callback(row: Mapping[str, Any], now: datetime) -> Callback:
    """Return a row of an answer as a callback with the channel `poll`."""
    body = json.dumps(row, ensure_ascii=False).encode()
    return Callback(headers=(), body=body, peer="", received=now, channel="poll")


def split_row(
    row: Mapping[str, Any],
    name: str,
    messages: Sequence[str],
    *,
    join: Callable[[Sequence[str]], object] = list,
) -> Iterator[tuple[Mapping[str, Any], Sequence[str]]]:
    """Yield a row, and the messages in its field of that name.

    A row with more than MOST_TOGETHER messages is split into parts, so that a huge row does not
    become one huge transaction. `join` turns the messages of a part into the value of the field.
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


def read_row(
    normalize: Normalize, fields: Fields, row: Mapping[str, Any], now: datetime, *, about: str
) -> Iterator[FoundMessage | Notice]:
    """Yield the message in a row, read as a callback with these fields.

    A row that cannot be read is a Notice about the command `about`.
    """
    callback = as_callback(row, now)
    happenings = normalize_or_none(normalize, fields, callback)
    if happenings is None:
        yield Notice(word="unreadable_row", about=about)
    elif happenings:
        yield FoundMessage(happenings=happenings, callback=callback)


def normalize_or_none(
    normalize: Normalize, fields: Fields, callback: Callback
) -> tuple[Happening, ...] | None:
    """Return the happenings in these fields, or None if the source cannot read them."""
    try:
        return tuple(normalize(fields, callback))
    except Malformed:
        return None


def fill_gaps(happening: Happening, **values: object) -> Happening:
    """Return the happening; its fields that are None get these values."""
    data: Any = happening.data
    missing = {
        name: value
        for name, value in values.items()
        if value is not None and getattr(data, name, value) is None
    }
    return msgspec.structs.replace(happening, data=msgspec.structs.replace(data, **missing))
