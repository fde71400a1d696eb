"""SMSPins: https://smspins.com, "Bulk SMS - API". It calls nobody: asking is the only way in."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, ClassVar, NoReturn
from zoneinfo import ZoneInfo

from journal.event import NumberChanged, SmsReceived

from ..answers import object_in, rows
from ..asking import polled, with_path
from ..codes import find_code
from ..numbers import e164
from ..polling import (
    Answer,
    Ask,
    BadKey,
    Busy,
    Found,
    Known,
    Notice,
    Poll,
    Polled,
    Unreadable,
)
from ..reading import Reading, common
from ..source import Callback, Fields, Happening, Key, Malformed, Sample, Source
from ..texts import links
from ..times import FIRST, Stated, time_from, written

_US = "US"
#: "All dates are in Eastern Standard Time (EST or EDT)"
_NEW_YORK = ZoneInfo("America/New_York")
#: Between what one check brought. A message may hold it too: nobody can tell.
_BETWEEN = "|"
#: Provider's clock and ours; a check that ended a moment ago.
_OVERLAP = timedelta(hours=1)
_ROW = "bulk_sms/smses_by_tid"
_BAD_KEY = ("api key", "api_key", "apikey", "unauthor", "authent", "invalid key", "expired key")
_BUSY = ("too many", "rate", "limit", "slow down", "try again")
#: Of what was cancelled, removed or never there.
_NOTHING = ("unable to find", "no sms", "not found", "no record", "no request")


class SmsPins(Source, tag="smspins", frozen=True, kw_only=True):
    """It sends no callbacks and needs no tokens: give it a `backfill`.

    Asking is read-only, so it tells what a check brought that somebody asked for, or its auto
    check did; that is switched off each midnight (New York's).
    """

    encodings: ClassVar[frozenset[str]] = frozenset()
    paste_at: ClassVar[str] = "nowhere: it sends no callbacks"
    kinds: ClassVar[tuple[str, ...]] = ()
    country: ClassVar[str | None] = "US"
    polled: ClassVar[Polled | None] = Polled(
        api_url="https://smspins.com/apiv2", every=30.0, min_interval=1.0
    )

    def normalize(self, fields: Fields, callback: Callback) -> NoReturn:  # noqa: ARG002 - there is nothing to read
        raise Malformed("unknown_event", "it sends no callbacks")

    def sample(self, kind: str, encoding: str, *, number: int, now: datetime) -> Sample:  # noqa: ARG002 - there is none
        raise ValueError("smspins sends no callbacks, so there is no sample of one")

    def poll(self, known: Sequence[Known], *, since: datetime, now: datetime) -> Poll:
        listed = yield self._ask("bulk_sms/telephones")
        telephones = {
            str(row["telephone_id"]): row
            for row in listed or ()
            if isinstance(row.get("telephone_id"), str)
        }
        for telephone in telephones:
            yield from self._messages(telephone, since, now)
        for order in known:
            if order.request_id is not None:
                yield from self._check(order.request_id, telephones, now)
        yield from self._changes(telephones, now)

    def _messages(self, telephone: str, since: datetime, now: datetime) -> Poll:
        checks = yield self._ask(_ROW, telephone)
        if checks is None:
            return
        times = [_updated(row) for row in checks]
        if not any(at and at.date() == now.astimezone(_NEW_YORK).date() for at in times):
            # What else would have brought something today is not said anywhere.
            yield Notice(word="auto_check_off", about=f"telephone/{telephone}")
        for row, at in zip(checks, times, strict=True):
            if at is None or at >= since - _OVERLAP:
                yield from self._parts(telephone, row, now)

    def _check(self, request: str, telephones: Mapping[str, Any], now: datetime) -> Poll:
        """One check; it says the number, and the list whose that is."""
        for row in (yield self._ask("bulk_sms/status", request)) or ():
            telephone = _id_of(row.get("telephone"), telephones)
            if telephone is not None:
                yield from self._parts(telephone, {**row, "request_id": request}, now)

    def _parts(self, telephone: str, row: Mapping[str, Any], now: datetime) -> Iterator[Found]:
        """Each is an event. When `smses` grows, what was there before has the keys it had."""
        smses = row.get("smses")
        same: Counter[str] = Counter()
        for part in smses.split(_BETWEEN) if isinstance(smses, str) else ():
            if not part.strip():
                continue
            same[part] += 1
            yield self._part(telephone, row, part, same[part], now)

    def _part(
        self, telephone: str, row: Mapping[str, Any], part: str, nth: int, now: datetime
    ) -> Found:
        reading, callback = Reading(row), polled(row, now)
        request = reading.id("request_id")
        happening = Happening(
            subject=f"telephone/{telephone}",
            # The check's last action is not when a message came.
            time=None,
            keys=(Key(parts=("sms", telephone, request or "", part, str(nth))),),
            data=SmsReceived(
                to=reading.number("telephone", _US),
                country=_US,
                text=part,
                code=find_code(part),
                urls=links(part),
                request_id=request,
                telephone_id=telephone,
                **common(self, callback, reading, time_from="received"),
            ),
        )
        return Found(happening=happening, callback=callback)

    def _changes(self, telephones: Mapping[str, Any], now: datetime) -> Poll:
        """Of the past 48 hours; those that failed changed nothing."""
        for row in (yield self._ask("nc/requests")) or ():
            if row.get("status") == "SUCCESS":
                yield from self._changed(row, telephones, now)

    def _changed(
        self, row: Mapping[str, Any], telephones: Mapping[str, Any], now: datetime
    ) -> Iterator[Found | Notice]:
        reading, callback = Reading(row), polled(row, now)
        request, to = reading.id("request_id"), reading.number("telephone", _US)
        if request is None or to is None:
            yield Notice(word="unreadable_row", about="nc/requests")
            return
        telephone = _id_of(row.get("telephone"), telephones)
        stated = _stated(reading, now)
        happening = Happening(
            subject=f"number/{to}" if telephone is None else f"telephone/{telephone}",
            time=stated.rfc3339(_NEW_YORK) if stated else None,
            keys=(Key(parts=("nc", request)),),
            data=NumberChanged(
                to=to,
                previous_to=reading.number("last_telephone", _US),
                country=_US,
                telephone_id=telephone,
                **common(self, callback, reading, time_from=time_from(stated)),
            ),
        )
        yield Found(happening=happening, callback=callback)

    def _ask(self, command: str, *arguments: str) -> Ask:
        """The key stands in the path."""
        asking = self.asking()
        url = with_path(asking.api_url, asking.api_key.reveal(), *command.split("/"), *arguments)
        return Ask(command=command, url=url, read=lambda answer: _read(answer, command))


def _read(answer: Answer, command: str) -> list[dict[str, Any]]:
    value = object_in(answer, command)
    if value.get("success") is True:
        return rows(value.get("data"))
    if value.get("success") is False:
        return _complaint(str(value.get("message")).lower(), command)
    raise Unreadable(command, "success: neither true nor false")


def _complaint(message: str, command: str) -> list[dict[str, Any]]:
    if any(words in message for words in _BAD_KEY):
        raise BadKey
    if any(words in message for words in _NOTHING):
        return []
    if any(words in message for words in _BUSY):
        raise Busy("asked too often")
    raise Unreadable(command, "an error that is not known here")


def _id_of(telephone: object, telephones: Mapping[str, Any]) -> str | None:
    """Of a number that is listed now."""
    number = e164(telephone, _US) if isinstance(telephone, str) else None
    for id_, row in telephones.items():
        listed = row.get("telephone")
        if number is not None and isinstance(listed, str) and e164(listed, _US) == number:
            return id_
    return None


def _updated(row: Mapping[str, Any]) -> datetime | None:
    text = row.get("updated_at")
    stated = written(text) if isinstance(text, str) else None
    at = stated.instant(_NEW_YORK) if stated else None
    return at.astimezone(_NEW_YORK) if at is not None and at >= FIRST else None


def _stated(reading: Reading, now: datetime) -> Stated | None:
    text = reading.text("updated_at")
    stated = written(text) if text is not None else None
    if stated is not None and stated.makes_sense(_NEW_YORK, now):
        return stated
    if text is not None:
        reading.warn("updated_at")
    return None
