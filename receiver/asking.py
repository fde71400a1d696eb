"""What the polls of all providers are made of: URLs with the key in them, and rows become found."""

import json
from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Any
from urllib.parse import quote, urlencode

import msgspec

from journal.quantity import Secret

from .polling import Found, Notice
from .source import Callback, Fields, Happening, Malformed, Source


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


def found(
    source: Source, fields: Fields, row: Mapping[str, Any], now: datetime, *, about: str
) -> Iterator[Found | Notice]:
    """What the callback with these fields would have told."""
    callback = polled(row, now)
    try:
        happenings = source.normalize(fields, callback)
    except Malformed:
        yield Notice(word="unreadable_row", about=about)
        return
    for happening in happenings:
        yield Found(happening=happening, callback=callback)


def told(happening: Happening, **more: object) -> Happening:
    """The same with what the answer says besides, where the event says nothing yet."""
    data: Any = happening.data
    news = {
        name: value
        for name, value in more.items()
        if value is not None and getattr(data, name, value) is None
    }
    return msgspec.structs.replace(happening, data=msgspec.structs.replace(data, **news))
