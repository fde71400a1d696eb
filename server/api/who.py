"""Who got an event: sinks, keys and people, masked or in clear."""

from bisect import bisect_right
from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime

import msgspec
from litestar import get
from litestar.handlers import HTTPRouteHandler
from litestar.params import FromPath

from core.clock import utc
from core.delivery import State
from core.event import id_of
from journal import Journal
from journal.audit.lines import read_ranges
from journal.facts import FOUND, part_of
from journal.reads import EventById, LinesFoundBy
from journal.records import StoredEvent
from sinks.http.guard import BLOCKED
from sinks.redact import clear_codes

from ..runtime.current import Current
from ..runtime.delivery_states import DeliveryStates
from ..runtime.keys import Keys
from ..runtime.readers import Readers
from ..runtime.subscriptions import PREFIX, LiveSubscriptions
from .auth import needs
from .errors import not_found
from .operation import Operation

_DELIVERY = "delivery"
#: Errors of attempts that sent nothing: there was no connection.
_NOT_SENT = frozenset((BLOCKED, "dns", "refused"))


class ShownReader(msgspec.Struct, frozen=True, kw_only=True):
    """Someone who got the event, in one way. Several times are one item."""

    #: `key/NAME`, `sink/NAME`, or `cli/UID` for a command on the machine of the service.
    by: str
    #: The address that asked; null for sinks and commands.
    peer: str | None = msgspec.field(name="from")
    #: `event`, `raw`, `reveal`, `console` (a reveal there), `list`, `order`, `consumer`, `wait`,
    #: `stream`, `explain`, `answer`, `quarantine`, `prove` or `delivery`.
    how: str
    #: Whether codes were in clear.
    clear: bool
    #: It may have got the event, and it is not known whether it did: the attempt failed, or the
    #: service ended while it read.
    at_most: bool
    #: What was in clear, as far as the line says it.
    fields: Sequence[str]
    reason: str | None
    at: datetime
    last_at: datetime
    count: int


class EventReaders(msgspec.Struct, frozen=True, kw_only=True):
    """Those who got an event."""

    event: str
    readers: Sequence[ShownReader]


class _Line(msgspec.Struct, frozen=True):
    """A line of the audit log about a reading. An erased line has no fields."""

    at: str = ""
    do: str = ""
    by: str = ""
    peer: str | None = msgspec.field(name="from", default=None)
    how: str = ""
    event: str | None = None
    events: Sequence[str] = ()
    places: str = ""
    fields: Sequence[str] = ()
    reason: str | None = None
    at_most: bool = False

    def is_about(self, event: str, place: int) -> bool:
        if self.event == event or event in self.events:
            return True
        return bool(self.places) and any(place in run for run in read_ranges(self.places))


class _Loaded(msgspec.Struct, frozen=True):
    at: str = ""
    #: Sinks that get codes in clear, or only their number.
    clear: Sequence[str] | int = ()


_line = msgspec.json.Decoder(_Line).decode
_loaded = msgspec.json.Decoder(_Loaded).decode


class Who:
    """Finds those who got an event."""

    def __init__(
        self,
        journal: Journal,
        readers: Readers,
        current: Current,
        subscriptions: LiveSubscriptions,
        keys: Keys,
        states: DeliveryStates,
    ) -> None:
        self._journal, self._readers, self._current = journal, readers, current
        self._subscriptions, self._keys, self._states = subscriptions, keys, states

    async def saw(self, kept: StoredEvent) -> Sequence[ShownReader]:
        """Return those who got the event: sinks, then keys. Raises Unavailable."""
        event = id_of(kept.body)
        await self._readers.settle()
        found = await self._journal.ask(LinesFoundBy((event, part_of(kept.seq))))
        loads = await self._journal.ask(LinesFoundBy((FOUND["config.loaded"],)))
        lines = [_line(line) for _, line in found]
        reads = [
            ShownReader(
                by=one.by,
                peer=one.peer,
                how=one.how,
                clear=True,
                at_most=one.at_most,
                fields=one.fields,
                reason=one.reason,
                at=datetime.fromisoformat(one.at),
                last_at=datetime.fromisoformat(one.at),
                count=1,
            )
            for one in lines
            if one.do == "code.read" and one.is_about(event, kept.seq)
        ]
        return _merged((*self._sinks(kept, [_loaded(line) for _, line in loads]), *reads))

    def _sinks(self, kept: StoredEvent, loads: Sequence[_Loaded]) -> Iterator[ShownReader]:
        since = [datetime.fromisoformat(one.at).timestamp() for one in loads if one.at]
        loads = [one for one in loads if one.at]
        for delivery in kept.deliveries:
            attempts = [
                (one.at, one.outcome != "delivered")
                for one in delivery.attempts
                if one.status is not None or one.error not in _NOT_SENT
            ]
            state = self._states.state(delivery)
            if state is State.SENDING or (state is State.DELIVERED and not delivery.attempts):
                # Attempts are removed after `retention.attempts`.
                attempts.append((delivery.accepted_at, state is State.SENDING))
            for at, at_most in attempts:
                before = bisect_right(since, at)
                loaded = loads[before - 1] if before else None
                yield ShownReader(
                    by=f"sink/{delivery.sink}",
                    peer=None,
                    how=_DELIVERY,
                    clear=self._gets_codes(delivery.sink, loaded),
                    at_most=at_most,
                    fields=(),
                    reason=None,
                    at=utc(at),
                    last_at=utc(at),
                    count=1,
                )

    def _gets_codes(self, sink: str, loaded: _Loaded | None) -> bool:
        """Return whether a sink got codes in clear. If that is not known, it did."""
        if sink.startswith(PREFIX):
            live = self._subscriptions.get(sink.removeprefix(PREFIX))
            rights = None if live is None else self._keys.rights(live.stored.key)
            return rights is None or rights.reads_codes
        if loaded is not None:
            return isinstance(loaded.clear, int) or sink in loaded.clear
        options = self._current.config.sinks.get(sink)
        return options is None or bool(clear_codes(options.redact))


def _merged(readers: Iterable[ShownReader]) -> Sequence[ShownReader]:
    """Join the items that differ in their times and fields only."""
    found: dict[object, ShownReader] = {}
    for one in readers:
        name = one.by, one.peer, one.how, one.clear, one.at_most, one.reason
        first = found.get(name)
        if first is not None:
            one = msgspec.structs.replace(  # noqa: PLW2901
                first,
                last_at=one.last_at,
                count=first.count + 1,
                fields=sorted({*first.fields, *one.fields}),
            )
        found[name] = one
    return list(found.values())


def who_saw(journal: Journal, who: Who) -> HTTPRouteHandler:
    """Declare the call."""

    @get(
        "/audit/who/{event_id:str}",
        guards=[needs("audit:read", whole=True)],
        operation=Operation(),
    )
    async def saw(event_id: FromPath[str]) -> EventReaders:
        """List readers of an event.

        Sinks and keys that got it, masked or in clear. Nothing of its content is in the answer.
        """
        kept = await journal.ask(EventById(event_id))
        if kept is None:
            raise not_found("event")
        return EventReaders(event=event_id, readers=await who.saw(kept))

    return saw
