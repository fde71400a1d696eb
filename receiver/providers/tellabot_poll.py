"""Asking TellABot: https://www.tellabot.com, "API", `read_sms` and `request_status`.

There is no list of one's requests, and each call gives the three newest messages of two days: so
one call for each order that is known. Rows say no id, and neither do dedupe keys.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any

from ..answers import object_in, rows
from ..asking import found, with_query
from ..numbers import digits, e164
from ..polling import Answer, Ask, Asking, BadKey, Busy, Found, Known, Notice, Poll, Unreadable
from ..source import Source

#: What it calls an error, and is none.
_NOTHING = re.compile(
    r"no messages|invalid request id|not found|no (such )?(request|rental)", re.IGNORECASE
)
_BAD_KEY = re.compile(
    r"api.?key|authori[sz]|authenticat|password|login|access denied"
    r"|(invalid|unknown|wrong|no such) user|user( name)? (not found|is unknown)",
    re.IGNORECASE,
)
_BUSY = re.compile(
    r"too (many|often|fast)|\brate\b|\blimit|\bwait\b|try again|\bretry\b|maintenance",
    re.IGNORECASE,
)
#: The states of a request that has its number.
_ASSIGNED = ("Reserved", "Completed")


def poll(source: Source, known: Sequence[Known], *, now: datetime) -> Poll:
    asking = source.asking()
    for order in known:
        yield from _messages(source, asking, order, now)
        if order.request_id is not None and order.number is None:
            yield from _assignment(source, asking, order.request_id, now)


def _messages(source: Source, asking: Asking, order: Known, now: datetime) -> Poll:
    filters, identity = _filters(order)
    if not filters:
        return
    answer = yield _ask(asking, "read_sms", **filters)
    for row in answer or ():
        yield from found(source, {**row, **_message(row, identity)}, row, now, about="read_sms")


def _filters(order: Known) -> tuple[Mapping[str, str], Mapping[str, str]]:
    """What to ask for, and the fields that a callback would say it with."""
    if order.request_id is not None:
        return {"id": order.request_id}, {"id": order.request_id}
    if order.rental_id is not None:
        return {"ltr_id": order.rental_id}, {"ltr_id": order.rental_id}
    if order.number is None:
        return {}, {}
    service = {} if order.service is None else {"service": order.service}
    return {"mdn": digits(order.number), **service}, {}


def _message(row: Mapping[str, Any], identity: Mapping[str, str]) -> Mapping[str, str]:
    return {"event": "incoming_message", **(identity or _by_number(row))}


def _by_number(row: Mapping[str, Any]) -> Mapping[str, str]:
    """Of an order of which no more than the number is known."""
    to = row.get("to")
    number = e164(to, "US") if isinstance(to, str) else None
    return {} if number is None else {"number": number}


def _assignment(source: Source, asking: Asking, request: str, now: datetime) -> Poll:
    answer = yield _ask(asking, "request_status", id=request)
    for row in answer or ():
        if row.get("status") in _ASSIGNED and row.get("mdn") and _is_bid(row):
            fields = {**row, "event": "priority_request", "status": "ok", "id": request}
            yield from _assigned(source, fields, row, now)


def _is_bid(row: Mapping[str, Any]) -> bool:
    """Others had their number at once, and no callback ever told of it."""
    return str(row.get("markup", "unknown")) != "0"


def _assigned(
    source: Source, fields: Mapping[str, Any], row: Mapping[str, Any], now: datetime
) -> Iterator[Found | Notice]:
    return found(source, fields, row, now, about="request_status")


def _ask(asking: Asking, command: str, **filters: str) -> Ask:
    """The key is in the query, because there is no other way."""
    url = with_query(
        asking.api_url,
        cmd=command,
        user=asking.user,
        api_key=asking.api_key.reveal(),
        **filters,
    )
    return Ask(command=command, url=url, read=lambda answer: _read(answer, command))


def _read(answer: Answer, command: str) -> list[dict[str, Any]]:
    value = object_in(answer, command)
    message = value.get("message")
    if value.get("status") == "ok" and isinstance(message, list | dict):
        return rows(message)
    if value.get("status") == "error" and isinstance(message, str):
        return _complaint(message, command)
    raise Unreadable(command, "status, message: not as documented")


def _complaint(message: str, command: str) -> list[dict[str, Any]]:
    if _BAD_KEY.search(message):
        raise BadKey
    if _NOTHING.search(message):
        return []
    if _BUSY.search(message):
        raise Busy("asked too often")
    raise Unreadable(command, "an error that is not known here")
