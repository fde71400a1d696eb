"""Polls TellABot: https://www.tellabot.com, "API", `read_sms`, `request_status` and `balance`.

The API has no list of requests, and each call returns the three newest messages of two days. So
there is one call for each known order. Rows have no id, so dedupe keys do not use one.
"""

import re
from collections.abc import Sequence
from datetime import datetime
from typing import Any

from ...fields.numbers import digits, e164
from ...fields.times import NEW_YORK
from ...polling.answers import BALANCE, ErrorTexts, Gone, object_in, or_none, rows
from ...polling.questions import (
    Ask,
    Balance,
    Ended,
    Known,
    ListedOrder,
    Poll,
    ProviderAnswer,
    Unreadable,
)
from ...polling.rows import read_row, with_query
from ...source import Source

_ERRORS = ErrorTexts(
    banned=re.compile(r"\b(banned|suspended|blocked|locked)\b", re.IGNORECASE),
    bad_key=re.compile(
        r"api.?key|authori[sz]|authenticat|password|login|access denied"
        r"|(invalid|unknown|wrong|no such) user|user( name)? (not found|is unknown)",
        re.IGNORECASE,
    ),
    gone=re.compile(
        r"(invalid|unknown|wrong|no such) (request|rental|ltr)|no (request|rental)\b"
        r"|(request|rental)( id)? (was )?(not found|does not exist|is (unknown|invalid))",
        re.IGNORECASE,
    ),
    nothing=re.compile(r"no messages|not found", re.IGNORECASE),
    busy=re.compile(
        r"too (many|often|fast)|\brate\b|\blimit|\bwait\b|try again|\bretry\b|maintenance",
        re.IGNORECASE,
    ),
)
#: The states of a request that has its number, in lower case, as all states here.
_ASSIGNED = ("reserved", "completed")
#: The states of a request that still waits.
_OPEN = ("awaiting mdn", "reserved")
#: The states of a request that ended without an SMS. `Completed` is not among them: its SMS exists,
#: and `read_sms` returns it, in the next round if it came between two calls.
_ENDS = {
    "rejected": "rejected",
    "timed out": "expired",
    "expired": "expired",
    "canceled": "cancelled",
    "cancelled": "cancelled",
    "failed": "failed",
}


def poll(source: Source, known: Sequence[Known], *, now: datetime) -> Poll:
    one = _TellABotPoll(source, now)
    for order in known:
        yield from one.order(order)
    yield from one.balance()


class _TellABotPoll:
    """The questions of one poll of one source."""

    def __init__(self, source: Source, now: datetime) -> None:
        self._source, self._now = source, now
        self._settings = source.polling_settings()
        self._has_asked = False

    def order(self, order: Known) -> Poll:
        """Ask for the messages of an order, and for the status of a request without messages."""
        identity: dict[str, str] = {}
        if order.request_id is not None:
            identity = {"id": order.request_id}
            answer = yield self._ask("read_sms", id=order.request_id)
        elif order.rental_id is not None:
            identity = {"ltr_id": order.rental_id}
            answer = yield self._ask("read_sms", ltr_id=order.rental_id)
        elif order.number is not None:
            answer = yield self._ask("read_sms", mdn=digits(order.number), service=order.service)
        else:
            return
        messages = answer if isinstance(answer, list) else []
        for row in messages:
            # An order that is known by its number alone has no id.
            number = _number(row.get("to"))
            id_ = identity or ({} if number is None else {"number": number})
            fields = {**row, "event": "incoming_message", **id_}
            yield from read_row(self._source.normalize, fields, row, self._now, about="read_sms")
        silent = answer is not None and not messages
        if order.request_id is not None and (silent or order.number is None):
            yield from self._status(order.request_id, order.number, may_end=silent)
        elif order.rental_id is not None and answer is Gone.GONE:
            yield Ended(kind="rental_id", name=order.rental_id, reason="finished")

    def _status(self, request: str, number: str | None, *, may_end: bool) -> Poll:
        answer = yield self._ask("request_status", id=request)
        ends = ["finished"] if answer is Gone.GONE else []
        for row in answer if isinstance(answer, list) else ():
            status = str(row.get("status")).strip().lower()
            if status in _OPEN:
                service = row.get("service")
                yield ListedOrder(
                    kind="request_id",
                    name=request,
                    number=_number(row.get("mdn")),
                    service=str(service) if isinstance(service, str) and service else None,
                    country="US",
                )
            # Other requests than bids had their number at once, without a callback.
            is_bid = str(row.get("markup", "unknown")) != "0"
            if number is None and status in _ASSIGNED and row.get("mdn") and is_bid:
                fields = {**row, "event": "priority_request", "status": "ok", "id": request}
                normalize = self._source.normalize
                yield from read_row(normalize, fields, row, self._now, about="request_status")
            ends += [_ENDS[status]] if status in _ENDS else []
        if may_end and ends:
            yield Ended(kind="request_id", name=request, reason=ends[0])

    def balance(self) -> Poll:
        amount = yield self._ask("balance")
        if isinstance(amount, str):
            yield Balance(amount=amount, currency=self._source.currency)

    def _ask(self, command: str, **filters: str | None) -> Ask:
        """Ask with the key in the query: the API takes it nowhere else."""
        url = with_query(
            self._settings.api_url,
            cmd=command,
            user=self._settings.user,
            api_key=self._settings.api_key.reveal(),
            **filters,
        )
        now = self._now.astimezone(NEW_YORK)
        is_first, self._has_asked = not self._has_asked, True

        def read(answer: ProviderAnswer) -> object:
            if command == "balance" and not is_first:
                return or_none(lambda: _read(answer, command, now))
            return _read(answer, command, now)

        return Ask(api=self._settings.api, command=command, url=url, read=read)


def _number(value: object) -> str | None:
    return e164(value, "US") if isinstance(value, str) else None


def _read(
    answer: ProviderAnswer, command: str, now: datetime
) -> list[dict[str, Any]] | str | Gone | None:
    """Return the rows, or the amount of a balance."""
    value = object_in(answer, command, now)
    status, message = value.get("status"), value.get("message")
    if status == "error" and isinstance(message, str):
        return _ERRORS.read(message, command, now)
    if command == "balance":
        is_amount = isinstance(message, str) and BALANCE.fullmatch(message)
        return str(message) if status == "ok" and is_amount else None
    if status == "ok" and isinstance(message, list | dict):
        return rows(message)
    raise Unreadable(command, "status, message: not as documented")
