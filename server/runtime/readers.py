"""Records who gets codes in clear: before they leave, who reads and what at most.

| way | on disk before | after |
|---|---|---|
| one event, its callback, answers, quarantine | `code.read` with ids | |
| lists and consumers | `code.read` with places | |
| waits | `code.wait`; `code.read` if the event was there before | `code.read` of the event |
| streams | `stream.opened` | `code.read` each second, `stream.closed` |

If the process dies in between, the next start records what such a reader could have got:
`interrupted_reads`. Numbers are not recorded: every key sees them.
"""

import asyncio
import contextlib
import re
from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from functools import partial
from typing import Any, Literal, Protocol

import msgspec

from core.bucket import Bucket
from core.event import id_of, secrets_of
from core.secret import MASK, without_numbers
from journal import Journal
from journal.actor import ACTING
from journal.audit.lines import Fact, write_ranges
from journal.reads import EventFilter
from journal.seal import Reason
from journal.writes import RecordFacts, RecordFactsLater

from .audit import AuditFacts
from .keys import Access

#: The ways in which a key reads, as lines name them.
How = Literal[
    "event",
    "raw",
    "reveal",
    "console",
    "list",
    "order",
    "consumer",
    "wait",
    "stream",
    "explain",
    "answer",
    "quarantine",
]
#: Seconds in which one line stands for all waits of a key with the same filter.
WAITS_EVERY = 600.0
#: Seconds between two lines of a stream.
STREAM_EVERY = 1.0
#: The most ids in one line.
_IDS = 300
#: The most waits that are remembered. Beyond that, a wait may have two lines in its time.
_WAITS = 10_000

#: The lines that account for each reason to open a sealed part. None: the text says why not.
ACCOUNTED: Mapping[Reason, tuple[str | None, str]] = {
    Reason.DELIVERY: ("delivery.attempted", "`clear` says which kinds the sink got"),
    Reason.SHOW: ("code.read", "before the answer, for keys with codes:read"),
    Reason.REVEAL: ("code.read", "before the answer"),
    Reason.RAW: ("code.read", "before the answer"),
    Reason.LIST: ("code.read", "before the answer, for keys with codes:read"),
    Reason.CONSUMER: ("code.read", "before the answer, for keys with codes:read"),
    Reason.WAIT: ("code.wait", "before the answer; `code.read` follows"),
    Reason.STREAM: ("stream.opened", "before the first byte; `code.read` follows"),
    Reason.EXPLAIN: ("code.read", "before the answer, if a clause shows a value"),
    Reason.ANSWER: ("code.read", "before the answer, for keys with codes:read"),
    Reason.QUARANTINE: ("code.read", "before it is shown; a replay has `quarantine.replayed`"),
    Reason.REPLAY: (None, "only the plan of the new deliveries is made; they have their own lines"),
    Reason.FILTER: (None, "a condition is tested; its values leave masked"),
    Reason.JOIN: (None, "the event stays in the journal"),
    Reason.ORDER: (None, "a number, to which every key has access"),
    Reason.ERASE: (None, "the search returns ids; `content.erased` names them"),
    Reason.PROVE: ("code.read", "before it is printed"),
    Reason.COMPARE: (None, "a hash is compared with that of the log; nothing is shown"),
    Reason.LINE: (None, "the place in the line of a sink; only its hash is stored"),
}


class ReadsLimited(Exception):
    """The key got as many codes as it may for now. `wait` is in seconds."""

    def __init__(self, wait: float) -> None:
        super().__init__()
        self.wait = wait


class WaitRecord(msgspec.Struct, frozen=True):
    """A wait, and the line that announces it."""

    #: The newest event when it began.
    place: int
    #: Done when it is on disk. It fails with Unavailable.
    written: "asyncio.Future[Any]"


class GivenEvent(Protocol):
    """An event that a stream gives."""

    place: int

    @property
    def secrets(self) -> tuple[str, ...]:
        """The names of its fields that only `codes:read` may see."""
        ...


class StreamRecord:
    """What a stream gave in clear since its last line."""

    def __init__(
        self, who: Mapping[str, Any], id_: str, readers: "Readers", access: Access
    ) -> None:
        self.id, self._who, self._readers, self._access = id_, who, readers, access
        #: Whether codes are in clear.
        self.is_clear = access.may("codes:read")
        #: Events that it gave, and those with codes in clear.
        self.total = self.codes = 0
        self._places: list[int] = []
        #: The names of the fields of each event, each combination once.
        self._fields: set[tuple[str, ...]] = set()

    def add(self, events: "Sequence[GivenEvent]") -> None:
        """Note events that are about to leave. Raises ReadsLimited."""
        self.total += len(events)
        if not self.is_clear:
            return
        places = [event.place for event in events if event.secrets]
        if places:
            self.codes += len(places)
            self._places += places
            self._fields.update([event.secrets for event in events])
            self._readers.take(self._access, len(places))

    def take(self) -> Sequence[Fact]:
        """Return the lines of what it gave since the last call."""
        places, self._places = self._places, []
        fields = sorted({name for names in self._fields for name in names})
        self._fields = set()
        its = {**self._who, "how": "stream", "stream": self.id, "fields": fields}
        return [Fact("code.read", {**its, "places": text}) for text in write_ranges(places)]

    def end(self) -> Sequence[Fact]:
        """Return its last lines."""
        totals = {"stream": self.id, "total": self.total, "codes": self.codes}
        return [*self.take(), Fact("stream.closed", {**self._who, **totals})]


class Readers:
    """The readers of codes. `new_id` returns an id for a stream, `ticks` is a monotonic clock."""

    def __init__(
        self,
        journal: Journal,
        facts: AuditFacts,
        *,
        new_id: Callable[[], str],
        ticks: Callable[[], float],
    ) -> None:
        self._journal, self._facts = journal, facts
        self._new_id, self._ticks = new_id, ticks
        self._streams: dict[str, StreamRecord] = {}
        #: By key and filter: when the line was written, and its commit.
        self._waits: dict[tuple[str, EventFilter], tuple[float, asyncio.Future[Any]]] = {}
        #: By key, with the rate that it was made for.
        self._buckets: dict[str, tuple[object, Bucket]] = {}

    # --- single calls ---------------------------------------------------------------------

    async def read(
        self,
        access: Access,
        how: How,
        fields: Sequence[str],
        *,
        reason: str | None = None,
        **what: Any,
    ) -> None:
        """Record a reading, and return when it is on disk. No field in clear: nothing is recorded.

        `what` names the thing: `event`, `quarantine`. Raises ReadsLimited and Unavailable.
        """
        if not fields:
            return
        self.take(access, 1)
        why = {} if reason is None else {"reason": reason}
        fact = Fact("code.read", {**_who(), "how": how, **what, "fields": fields, **why})
        await self._facts.record(fact)

    async def read_event(self, access: Access, how: How, body: bytes) -> None:
        """Record that the key gets an event in clear, unless it sees codes masked."""
        if access.may("codes:read"):
            await self.read(access, how, secrets_of(body), event=id_of(body))

    async def read_events(self, access: Access, how: How, bodies: Iterable[bytes]) -> None:
        """Record that the key gets these events in clear, unless it sees codes masked."""
        if not access.may("codes:read"):
            return
        found = {id_of(body): secrets_of(body) for body in bodies}
        await self.read_ids(access, how, {id_: its for id_, its in found.items() if its})

    async def read_ids(self, access: Access, how: How, fields: Mapping[str, Sequence[str]]) -> None:
        """Record that the key gets these fields of events, by their ids."""
        if not fields:
            return
        self.take(access, len(fields))
        ids, names = list(fields), sorted({name for its in fields.values() for name in its})
        its = {**_who(), "how": how}
        parts = [ids[at : at + _IDS] for at in range(0, len(ids), _IDS)]
        await self._facts.record(
            *[Fact("code.read", {**its, "events": part, "fields": names}) for part in parts]
        )

    async def read_page(self, access: Access, how: How, items: Iterable[tuple[int, bytes]]) -> None:
        """Record that the key gets a page of events, each with its place."""
        if not access.may("codes:read"):
            return
        found = [(place, fields) for place, body in items if (fields := secrets_of(body))]
        if not found:
            return
        self.take(access, len(found))
        names = sorted({name for _, fields in found for name in fields})
        its = {**_who(), "how": how, "fields": names}
        ranges = write_ranges(sorted(place for place, _ in found))
        await self._facts.record(*[Fact("code.read", {**its, "places": text}) for text in ranges])

    # --- waits ----------------------------------------------------------------------------

    def begin_wait(self, access: Access, wanted: EventFilter, newest: int) -> WaitRecord | None:
        """Record a wait while it waits. None: the key sees codes masked.

        `newest` is the place of the newest event.
        """
        if not access.may("codes:read"):
            return None
        at = self._ticks()
        # A `since` such as 10m is another time in each call.
        name = access.id, msgspec.structs.replace(wanted, since=None, until=None)
        self._forget_waits(at - WAITS_EVERY)
        known = self._waits.get(name)
        if known is not None:
            return WaitRecord(newest, known[1])
        if len(self._waits) >= _WAITS:
            self._waits.pop(next(iter(self._waits)))
        its = {**_who(), "filter": filter_fields(wanted), "after": newest}
        written = self._journal.submit(RecordFactsLater((Fact("code.wait", its),)))
        self._waits[name] = (at, written)
        written.add_done_callback(partial(self._wait_written, name))
        return WaitRecord(newest, written)

    def _forget_waits(self, until: float) -> None:
        """Forget the waits that were recorded until then. The oldest come first."""
        while self._waits:
            name, (at, _) = next(iter(self._waits.items()))
            if at > until:
                return
            del self._waits[name]

    def _wait_written(self, name: tuple[str, EventFilter], written: "asyncio.Future[Any]") -> None:
        if written.cancelled() or written.exception() is not None:
            self._waits.pop(name, None)  # the next one writes it again

    async def end_wait(
        self, access: Access, record: WaitRecord | None, place: int, body: bytes
    ) -> None:
        """Record the event that a wait answers. Raises ReadsLimited and Unavailable."""
        fields = secrets_of(body)
        if record is None or not fields:
            return
        event = {"event": id_of(body)}
        if place <= record.place:
            # It was there: after a crash, only later events count as read.
            await self.read(access, "wait", fields, **event)
            return
        await asyncio.shield(record.written)
        self.take(access, 1)
        self._facts.later(Fact("code.read", {**_who(), "how": "wait", **event, "fields": fields}))

    # --- streams --------------------------------------------------------------------------

    @contextlib.asynccontextmanager
    async def stream(
        self, access: Access, wanted: EventFilter, after: int
    ) -> AsyncIterator[StreamRecord]:
        """Record a stream that begins after a place, and its end.

        If codes are in clear, it is on disk when the context is entered. Raises ReadsLimited and
        Unavailable.
        """
        record = StreamRecord(_who(), self._new_id(), self, access)
        clear = record.is_clear
        if clear:
            self.take(access, 0)
        its = {"stream": record.id, "filter": filter_fields(wanted), "after": after, "clear": clear}
        opened = Fact("stream.opened", {**_who(), **its})
        self._streams[record.id] = record
        try:
            if clear:
                await self._journal.submit(RecordFacts((opened,)))
            else:
                self._facts.later(opened)
            yield record
        finally:
            if self._streams.pop(record.id, None) is not None:
                self._facts.later(*record.end())

    def flush(self) -> None:
        """Record what streams gave since the last call. It is on disk with the next commit."""
        facts = [fact for record in self._streams.values() for fact in record.take()]
        if facts:
            self._facts.later(*facts)

    async def settle(self) -> None:
        """Record all that was read so far, and return when it is on disk. Raises Unavailable."""
        self.flush()
        await self._journal.submit(RecordFacts(()))

    def end(self) -> None:
        """Record the end of all streams, before the end of the service is recorded."""
        ended, self._streams = self._streams, {}
        facts = [fact for record in ended.values() for fact in record.end()]
        if facts:
            self._facts.later(*facts)

    async def run(self) -> None:
        """Record what streams gave, until cancelled."""
        while True:
            await asyncio.sleep(STREAM_EVERY)
            self.flush()

    # --- limits ---------------------------------------------------------------------------

    def take(self, access: Access, count: int) -> None:
        """Count events that the key gets in clear. 0 only asks. Raises ReadsLimited."""
        rate = access.reads_rate
        if rate is None:
            return
        known, bucket = self._buckets.get(access.id, (None, None))
        if bucket is None or known != rate:
            bucket = Bucket(rate, self._ticks)
            self._buckets[access.id] = rate, bucket
        wait = bucket.take(count) if count else bucket.wait()
        if wait:
            peer = ACTING.get().peer
            self._facts.count("key.refused", "reads_limited", access.name, peer or "")
            raise ReadsLimited(wait)


def _who() -> Mapping[str, str]:
    return ACTING.get().fields


def filter_fields(wanted: EventFilter) -> Sequence[str]:
    """Return the names of the fields that a filter has. Their values may be numbers."""
    return [name for name in wanted.__struct_fields__ if getattr(wanted, name) not in ((), None)]


#: A word that may be a code.
_WITH_DIGIT = re.compile(r"(?=[\w-]*\d)[\w-]{3,}")


def clean_reason(reason: str, secrets: Iterable[str] = ()) -> str:
    """Return a reason without numbers and these secrets, which the log must not hold."""
    for secret in secrets:
        reason = reason.replace(secret, MASK)
    return without_numbers(reason)


def repeated(reason: str, callback: bytes) -> Sequence[str]:
    """Return the words of a reason that may be codes: they have a digit and are in the callback."""
    words = _WITH_DIGIT.findall(reason)
    return [word for word in words if word.encode() in callback]
