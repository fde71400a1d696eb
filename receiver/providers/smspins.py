"""SMSPins: https://smspins.com, "Bulk SMS - API". It sends no callbacks and is only polled.

A poll finds the checks of each telephone, and the changes of numbers. Checks are requested by
others or made by the auto check.
"""

import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, ClassVar, NoReturn

from core.event import NumberChanged, SmsReceived

from ..callback import Callback, Fields, Happening, Key, Malformed, Sample
from ..fields.code import find_code
from ..fields.numbers import e164
from ..fields.reader import FieldReader
from ..fields.text import links
from ..fields.times import FIRST, NEW_YORK, read_time, time_from
from ..polling.answers import ErrorTexts, Gone, object_in, rows
from ..polling.options import PollingApi
from ..polling.questions import (
    Ask,
    Ended,
    FoundMessage,
    Known,
    Notice,
    Poll,
    PollMemory,
    ProviderAnswer,
    Switch,
    Unreadable,
)
from ..polling.rows import as_callback, split_row, with_path
from ..source import Source

_US = "US"
#: The separator between the messages of a check. A message may contain it, too.
_BETWEEN = "|"
#: A round looks this much further back: the provider's clock may differ from ours, and a check
#: may just have ended.
_OVERLAP = timedelta(hours=1)
#: The time after midnight by which all auto checks are off.
_OFF_BY = timedelta(minutes=5)
_ROW, _AUTO_CHECK = "bulk_sms/smses_by_tid", "bulk_sms/autocheck"
_ERRORS = ErrorTexts(
    banned=re.compile(r"banned|suspended|blocked|locked", re.IGNORECASE),
    bad_key=re.compile(
        r"api key|api_key|apikey|unauthor|authent|invalid key|expired key", re.IGNORECASE
    ),
    gone=re.compile(r"unable to find|not found|no record|no request", re.IGNORECASE),
    nothing=re.compile(r"no sms", re.IGNORECASE),
    busy=re.compile(r"too many|rate|limit|slow down|try again", re.IGNORECASE),
)
#: The reasons for the end of a check or change of number without an SMS.
_ENDS = {
    "SUCCESS": "finished",
    "FAIL": "failed",
    "FAILED": "failed",
    "CANCELED": "cancelled",
    "CANCELLED": "cancelled",
    "REMOVED": "cancelled",
}


class SmsPins(Source, tag="smspins", frozen=True, kw_only=True):
    """It sends no callbacks and needs no tokens: give it a `backfill`.

    A poll reads the results of checks, which a person or the auto check starts. The provider
    switches the auto check off at midnight in New York.
    """

    #: Switch the auto check of each telephone on, each day after midnight in New York. This is the
    #: only command that changes anything at a provider; false: it is never sent.
    auto_check: bool = False

    encodings: ClassVar[frozenset[str]] = frozenset()
    paste_at: ClassVar[str] = "nowhere: it sends no callbacks"
    kinds: ClassVar[tuple[str, ...]] = ()
    country: ClassVar[str | None] = "US"
    polling_api: ClassVar[PollingApi | None] = PollingApi(
        api_url="https://smspins.com/apiv2",
        every=30.0,
        min_interval=1.0,
        reads=frozenset(
            {
                "bulk_sms/telephones",
                "bulk_sms/smses_by_tid",
                "bulk_sms/status",
                "nc/requests",
            }
        ),
        switches=frozenset({"bulk_sms/autocheck"}),
    )

    def normalize(self, fields: Fields, callback: Callback) -> NoReturn:  # noqa: ARG002 - there is nothing to read
        raise Malformed("unknown_event", "it sends no callbacks")

    def sample(self, kind: str, encoding: str, *, number: int, now: datetime) -> Sample:  # noqa: ARG002 - there is no sample
        raise ValueError("smspins sends no callbacks, so there is no sample of one")

    def poll(
        self,
        known: Sequence[Known],
        *,
        since: datetime,
        now: datetime,
        memory: PollMemory | None = None,
    ) -> Poll:
        one = _SmsPinsPoll(self, since, now)
        yield from one.telephones()
        for order in known:
            if order.request_id is not None:
                yield from one.check(order.request_id)
        yield from one.changes()
        if self.auto_check:
            yield from one.switch_on(PollMemory() if memory is None else memory)


class _SmsPinsPoll:
    """The questions of one poll of one source."""

    def __init__(self, source: Source, since: datetime, now: datetime) -> None:
        self._source, self._since, self._now = source, since, now
        self._settings = source.polling_settings()
        #: The telephones in the list, by their numbers.
        self._telephones: dict[str, str] = {}
        #: The telephone of each check in a list. Its number may have changed since.
        self._checks: dict[str, str] = {}
        #: Requests that are no checks: they may be changes of a number.
        self._unknown: list[str] = []

    def telephones(self) -> Poll:
        answer = yield self._ask("bulk_sms/telephones")
        for row in answer if isinstance(answer, list) else ():
            number, id_ = _number(row.get("telephone")), row.get("telephone_id")
            if isinstance(id_, str):
                self._telephones.setdefault(number or f"/{id_}", str(id_))
        today = self._now.astimezone(NEW_YORK).date()
        for telephone in dict.fromkeys(self._telephones.values()):
            checks = yield self._ask(_ROW, telephone)
            if not isinstance(checks, list):
                continue
            times = []
            for row in checks:
                time = read_time(FieldReader(row).raw("updated_at"))
                at = time.instant(NEW_YORK) if time else None
                times.append(at if at is None or at >= FIRST else None)
            if not any(at and at.astimezone(NEW_YORK).date() == today for at in times):
                # Without a check today, the auto check must be off: the API does not show it.
                yield Notice(word="auto_check_off", about=f"telephone/{telephone}")
            for row, at in zip(checks, times, strict=True):
                if isinstance(request := row.get("request_id"), str):
                    self._checks[str(request)] = telephone
                if at is None or at >= self._since - _OVERLAP:
                    yield from self._read_check(telephone, row)

    def check(self, request: str) -> Poll:
        """Ask for one check. Find its telephone by an earlier list, or by its number."""
        answer = yield self._ask("bulk_sms/status", request)
        if answer is Gone.GONE:
            self._unknown.append(request)
        for row in answer if isinstance(answer, list) else ():
            number = _number(row.get("telephone"))
            telephone = self._checks.get(request) or self._telephones.get(number or "")
            whole = {**row, "request_id": request}
            if _messages_in(row):
                yield from self._read_check(telephone, whole)
            elif (status := _status(row)) in _ENDS:
                yield Ended(kind="request_id", name=request, reason=_ENDS[status])

    def _read_check(
        self, telephone: str | None, row: Mapping[str, Any]
    ) -> Iterator[FoundMessage | Notice]:
        """Read each message as an event. When `smses` grows, earlier messages keep their keys."""
        number = _number(row.get("telephone"))
        if telephone is None and number is None:
            yield Notice(word="unreadable_row", about="bulk_sms/status")
            return
        subject = f"number/{number}" if telephone is None else f"telephone/{telephone}"
        same: Counter[str] = Counter()
        for part, messages in split_row(row, "smses", _messages_in(row), join=_BETWEEN.join):
            callback = as_callback(part, self._now)
            happenings = []
            for message in messages:
                same[message] += 1
                reading = FieldReader(part)
                request, nth = reading.id("request_id"), str(same[message])
                keys = [Key(parts=("sms", telephone or number or "", request or "", message, nth))]
                if request is not None:
                    # A telephone may list a check later than the check itself is found.
                    keys.append(Key(parts=("check", request, message, nth)))
                happenings.append(
                    Happening(
                        subject=subject,
                        # The row has the time of the check's last action, not of a message.
                        time=None,
                        keys=tuple(keys),
                        data=SmsReceived(
                            to=reading.number("telephone", _US),
                            country=_US,
                            text=message,
                            code=find_code(message),
                            urls=links(message),
                            request_id=request,
                            telephone_id=telephone,
                            **self._source.common(callback, reading, time_from="received"),
                        ),
                    )
                )
            yield FoundMessage(happenings=tuple(happenings), callback=callback)

    def changes(self) -> Poll:
        """Ask for the changes of the past 48 hours. A failed one changed nothing."""
        answer = yield self._ask("nc/requests")
        if answer is None:
            return
        statuses: dict[str, str] = {}
        for row in answer if isinstance(answer, list) else ():
            statuses[str(row.get("request_id"))] = _status(row)
            if _status(row) != "SUCCESS":
                continue
            reading, callback = FieldReader(row), as_callback(row, self._now)
            request, to = reading.id("request_id"), reading.number("telephone", _US)
            if request is None or to is None:
                yield Notice(word="unreadable_row", about="nc/requests")
                continue
            telephone, text = self._telephones.get(to), reading.text("updated_at")
            time = read_time(text) if text is not None else None
            if time is not None and not time.is_plausible(NEW_YORK, self._now):
                time = None
            if text is not None and time is None:
                reading.warn("updated_at")
            happening = Happening(
                subject=f"number/{to}" if telephone is None else f"telephone/{telephone}",
                time=time.rfc3339(NEW_YORK) if time else None,
                keys=(Key(parts=("nc", request)),),
                data=NumberChanged(
                    to=to,
                    previous_to=reading.number("last_telephone", _US),
                    country=_US,
                    telephone_id=telephone,
                    **self._source.common(callback, reading, time_from=time_from(time)),
                ),
            )
            yield FoundMessage(happenings=(happening,), callback=callback)
        for request in self._unknown:
            # An unknown request has ended.
            reason = _ENDS.get(statuses[request]) if request in statuses else "finished"
            if reason is not None:
                yield Ended(kind="request_id", name=request, reason=reason)

    def switch_on(self, memory: PollMemory) -> Poll:
        """Switch on the auto check of each telephone, once after each midnight in New York."""
        today = (self._now.astimezone(NEW_YORK) - _OFF_BY).date()
        for telephone in dict.fromkeys(self._telephones.values()):
            if memory.switched_on.get(telephone) == today:
                continue
            answer = yield self._ask(_AUTO_CHECK, telephone, "enable", kind=Switch)
            if answer is Gone.GONE:
                yield Notice(word="auto_check_refused", about=f"telephone/{telephone}")
            if answer is not None:
                memory.switched_on[telephone] = today

    def _ask(
        self, command: str, *arguments: str, kind: type[Ask] | type[Switch] = Ask
    ) -> Ask | Switch:
        """Ask with the key in the path of the URL."""
        key, now = self._settings.api_key.reveal(), self._now.astimezone(NEW_YORK)

        def read(answer: ProviderAnswer) -> list[dict[str, Any]] | Gone:
            value = object_in(answer, command, now)
            if value.get("success") is True:
                return rows(value.get("data"))
            if value.get("success") is False:
                return _ERRORS.read(str(value.get("message")), command, now)
            raise Unreadable(command, "success: neither true nor false")

        url = with_path(self._settings.api_url, key, *command.split("/"), *arguments)
        return kind(api=self._settings.api, command=command, url=url, read=read)


def _messages_in(row: Mapping[str, Any]) -> list[str]:
    smses = row.get("smses")
    return [one for one in smses.split(_BETWEEN) if one.strip()] if isinstance(smses, str) else []


def _status(row: Mapping[str, Any]) -> str:
    return str(row.get("status")).strip().upper()


def _number(value: object) -> str | None:
    return e164(value, _US) if isinstance(value, str) else None
