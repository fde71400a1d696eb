"""The service on one page: callbacks in, deliveries out."""

import asyncio
import contextlib
import secrets
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, NamedTuple

import msgspec
import structlog

from core.clock import rfc3339
from core.copies import Copy
from core.errors import Broken, Unavailable
from core.event import AccountLow, Data, Event, Money, NumberAssigned, OrderExpired, Service
from core.order import (
    AWAITED,
    BY_NUMBER,
    TIME_UP,
    Order,
    RegisteredBy,
    joined,
    lasting,
    provided,
    told_by,
)
from journal import Journal, JournalHealth
from journal.commit import STALLED
from journal.order_book import OrderBook
from journal.records import (
    AccountBalance,
    Arrival,
    Planned,
    QuarantinedCallback,
    Recorded,
    Rejection,
)
from journal.writes import (
    CountRejections,
    ExpireOrder,
    QuarantineCallback,
    Record,
    SetBalance,
    Touch,
)
from receiver.callback import Callback, Happening, Key, Malformed
from receiver.credentials import Headers, without_credentials
from receiver.door import SAMPLE_HEADER, understood
from receiver.fields.services import service
from receiver.intake import Accepted, Caller
from receiver.sample_ids import Sampled
from receiver.source import Source
from receiver.source_state import SourceState
from routes.table import CompiledRoute, Plan, plan
from sinks.worker import Worker

from .handover import forget, hand_over
from .identity import Identity

#: Callbacks that may wait for their commit; beyond it the door answers 503 at once.
MOST_WAITING = 2000
#: Rejections are told apart by peer until so many are counted in a second.
MOST_REJECTIONS = 1000
#: Samples are told apart by their number.
_SAMPLES = 100_000_000

log = structlog.get_logger()


class UnknownId(Exception):
    """The source of a quarantined callback is not configured any more."""


class _Draft(NamedTuple):
    event: Event
    #: The same as plain JSON values.
    fields: Mapping[str, object]
    body: bytes
    keys: tuple[bytes, ...]
    #: How it is told apart from what came another way.
    twin: Copy | None
    plan: Plan
    #: The order that it belongs to.
    order: str | None
    #: The fields that it has from that order.
    taken: tuple[str, ...]


class _Foreseen(NamedTuple):
    """An order that an event names, in the book before it is in the journal."""

    given: Order
    #: As the book had it; None: it had none.
    before: Order | None
    order: Order


class Pipeline:
    """It alone mints ids, reads the clock and knows the secret."""

    def __init__(
        self,
        *,
        gates: Sequence[SourceState],
        routes: Sequence[CompiledRoute],
        workers: Mapping[str, Worker],
        journal: Journal,
        identity: Identity,
        now: Callable[[], float],
        ticks: Callable[[], float] = time.monotonic,
        book: OrderBook | None = None,
    ) -> None:
        self._sampled = Sampled(ticks)
        #: The orders that events may belong to.
        self._book = OrderBook() if book is None else book
        self._gates = {gate.name: gate for gate in gates}
        self._routes, self._workers, self._journal = routes, workers, journal
        self._identity, self._now, self._ticks = identity, now, ticks
        self._rejections: dict[tuple[str, str, str], Rejection] = {}
        self._writing_rejections = asyncio.Lock()
        #: By `ticks`.
        self._complained = float("-inf")
        self._draining = False
        self._log = log.bind()  # once: looking it up costs as much as writing a line

    # --- what the door asks ---------------------------------------------------------------

    def closed(self) -> bool:
        journal = self._journal
        return self._draining or journal.failure is not None or journal.waiting >= MOST_WAITING

    def draining(self) -> bool:
        return self._draining

    def is_sample(self, source: str, body: bytes, signature: str | None) -> bool:
        return self._identity.is_sample(source, body, signature)

    def request_id(self) -> str:
        return self._identity.request_id()

    def without_credentials(self, source: str, callback: Callback) -> Callback:
        own = self._gates[source].source.secret_headers
        headers = without_credentials(
            callback.headers, source, own, self._identity.credential_digest
        )
        return msgspec.structs.replace(callback, headers=headers)

    def stored_headers(self, source: str, headers: Headers) -> Headers:
        """Return what may be shown of stored headers, and what is to be stored of them."""
        gate = self._gates.get(source)
        own = gate.source.secret_headers if gate else frozenset[str]()
        digest = self._identity.credential_digest
        return without_credentials(headers, source, own, digest, stored=True)

    def new_id(self, at: float) -> str:
        """A UUIDv7 of that time, in seconds since the epoch."""
        return self._identity.event_id(at)

    async def accept(
        self,
        caller: Caller,
        callback: Callback,
        happenings: Sequence[Happening],
        *,
        replaces: str | None = None,
    ) -> Accepted:
        """Route, then record. When this returns, nothing can be lost."""
        recorded = await self.record(caller, callback, happenings, replaces=replaces)
        status = "accepted" if any(recorded.new) else "duplicate"
        return Accepted(status=status, events=recorded.ids)

    async def record(
        self,
        caller: Caller,
        callback: Callback,
        happenings: Sequence[Happening],
        *,
        replaces: str | None = None,
    ) -> Recorded:
        """Do what `accept` does, and return for each happening whether it is new."""
        # What `recordedtime` says, to its last digit: `since` and `until` compare with this.
        at = round(self._now(), 6)
        foreseen = [self._foresee(caller.source, happening.data, at) for happening in happenings]
        drafts = [self._joined(caller.source, happening, at) for happening in happenings]
        # All drafts first: from here on places in queues are kept, and nothing may fail.
        plans = [
            self._plan(draft, at, tells=one and one.given)
            for draft, one in zip(drafts, foreseen, strict=True)
        ]

        def then(outcome: Recorded | Exception) -> None:
            self._take_orders(foreseen, outcome)
            self._hand_over(plans, outcome)

        try:
            recorded = await self._journal.submit(
                Record(_arrival(caller, callback), tuple(plans), replaces=replaces), then=then
            )
        except Unavailable as exc:
            self._complain(exc)
            raise
        if any(recorded.new) and callback.channel == "callback" and replaces is None:
            self._gates[caller.source].watch.heard(callback, happenings)
        self._say(caller, callback, plans, recorded)
        return recorded

    async def expire(self, order: Order, reason: str = TIME_UP, *, at_once: bool = False) -> bool:
        """End an order with its event; False: something came, or it ended otherwise.

        `at_once`: the provider said so, and its time need not be up.
        """
        at = round(self._now(), 6)
        gate = self._gates.get(order.source)  # it may be configured no more
        happening = _end_of(order, reason, gate)
        planned = self._plan(self._draft(order.source, happening, at, order.id), at)
        recorded = await self._said_by_us(
            planned,
            lambda then: self._journal.submit(
                ExpireOrder(planned, reason=reason, at_once=at_once), then=then
            ),
        )
        if recorded:
            said = _said(planned)
            self._log.info(
                "order.expired", source=order.source, order_id=order.id, reason=reason, **said
            )
        return recorded

    async def set_balance(self, balance: AccountBalance) -> bool:
        """Keep the balance of an account; whether it fell below its threshold, with an event."""
        gate = self._gates[balance.source]
        if not balance.low or gate.source.low_balance is None:
            await self._journal.submit(SetBalance(balance, None))
            return False
        at = round(self._now(), 6)
        happening = _low(balance, gate, self._identity.event_id(at))
        planned = self._plan(self._draft(balance.source, happening, at), at)
        recorded = await self._said_by_us(
            planned, lambda then: self._journal.submit(SetBalance(balance, planned), then=then)
        )
        if recorded:
            self._log.warning(
                "account.low",
                source=balance.source,
                amount=balance.amount,
                currency=balance.currency,
                threshold=gate.source.low_balance,
                **_said(planned),
            )
        return recorded

    async def _said_by_us(
        self,
        planned: Planned,
        write: Callable[[Callable[[Recorded | Exception | None], None]], Awaitable[object]],
    ) -> bool:
        """Record an event that no callback brought, if it is to be; whether it was."""

        def then(outcome: Recorded | Exception | None) -> None:
            if isinstance(outcome, Recorded):
                self._hand_over([planned], outcome)
            else:
                forget(self._workers, planned.owed)

        try:
            return await write(then) is not None
        except Unavailable as exc:
            self._complain(exc)
            raise

    async def quarantine(self, caller: Caller, callback: Callback, malformed: Malformed) -> str:
        """Keep the bytes of what was not understood."""
        try:
            kept = await self._journal.submit(
                QuarantineCallback(
                    _arrival(caller, callback),
                    id=self._identity.event_id(self._now()),
                    fingerprint=self._identity.fingerprint(callback.body),
                    reason=malformed.reason,
                    detail=malformed.detail,
                )
            )
        except Unavailable as exc:
            self._complain(exc)
            raise
        self._log.warning(
            "callback.quarantined",
            request_id=caller.request_id,
            source=caller.source,
            peer=callback.peer,
            bytes=len(callback.body),
            reason=malformed.reason,
            detail=malformed.detail,
            quarantine_id=kept.id,
            new=kept.new,
        )
        return kept.id

    def reject(self, reason: str, source: str, peer: str, request_id: str) -> None:
        """Count a rejected request; `write_rejections` makes it durable."""
        unlogged = self._sampled.take(reason)
        if unlogged is not None:
            self._log.warning(
                "callback.rejected",
                request_id=request_id,
                source=source or None,
                peer=peer,
                reason=reason,
                unlogged=unlogged or None,
            )
        at = self._now()
        self._count(
            Rejection(reason=reason, source=source, peer=peer, count=1, first_at=at, last_at=at)
        )

    def _count(self, more: Rejection) -> None:
        key = (more.reason, more.source, more.peer)
        if key not in self._rejections and len(self._rejections) >= MOST_REJECTIONS:
            key = (more.reason, more.source, "*")
        known = self._rejections.get(key)
        self._rejections[key] = Rejection(
            reason=more.reason,
            source=more.source,
            peer=key[2],
            count=more.count + (known.count if known else 0),
            first_at=min(more.first_at, known.first_at) if known else more.first_at,
            last_at=max(more.last_at, known.last_at) if known else more.last_at,
        )

    # --- what the server asks -------------------------------------------------------------

    def drain(self) -> None:
        """From now on the door answers 503."""
        self._draining = True

    async def write_rejections(self) -> None:
        """Put what was counted into the journal; what it cannot take is counted on."""
        # One at a time: who finds nothing to write waits for what is being written.
        async with self._writing_rejections:
            rejections, self._rejections = self._rejections, {}
            if not rejections:
                return
            try:
                await self._journal.submit(CountRejections(tuple(rejections.values())))
            except Unavailable:
                for rejection in rejections.values():
                    self._count(rejection)

    def say_rejections(self) -> None:
        """Log how many rejections got no line of their own."""
        for reason, unlogged in self._sampled.left_out().items():
            self._log.warning("callback.rejected", reason=reason, unlogged=unlogged)

    async def keep_watch(self) -> None:
        """Each second: what was turned away is written, and a journal that failed is tried."""
        stalled = False
        while True:
            await asyncio.sleep(1)
            self.say_rejections()
            stalled = self._say_stalled(stalled)
            await self.write_rejections()
            if self._journal.health is JournalHealth.FAILING:
                # Without this it would be called unready until the next callback, which may be
                # sent elsewhere because it is.
                with contextlib.suppress(Unavailable):
                    await self._journal.submit(Touch())

    def _say_stalled(self, before: bool) -> bool:  # noqa: FBT001 - what it returned last
        """Say once that the disk does not answer, and once that it does again."""
        stalled = self._journal.health is JournalHealth.STALLED
        if stalled and not before:
            self._log.error("journal.error", error=STALLED)
        elif before and not stalled:
            self._log.warning("journal.recovered")
        return stalled

    async def replay(self, kept: QuarantinedCallback, request_id: str) -> Accepted:
        """Read a quarantined callback again; understood, it leaves quarantine with its events.

        Raises Malformed where it still is not, Unknown where its source is gone.
        """
        gate = self._gates.get(kept.source)
        if gate is None:
            raise UnknownId(kept.source)
        callback = Callback(
            headers=kept.headers,
            body=kept.body,
            peer=kept.peer,
            received=datetime.fromtimestamp(kept.at, UTC),
        )
        signature = callback.header(SAMPLE_HEADER)
        if self.is_sample(kept.source, kept.body, signature):
            callback = msgspec.structs.replace(callback, sample=True)
        caller = Caller(source=kept.source, token=kept.token, request_id=request_id)
        return await self.accept(caller, callback, understood(gate, callback), replaces=kept.id)

    def sample(self) -> tuple[str, bytes]:
        """An event as the first source that calls would bring it; a sample, recorded nowhere.

        Its id and its body. Raises Unknown where there is none.
        """
        gate = next((one for one in self._gates.values() if one.source.kinds), None)
        if gate is None:
            raise UnknownId
        at = round(self._now(), 6)
        source, now = gate.source, datetime.fromtimestamp(at, UTC)
        number = secrets.randbelow(_SAMPLES)
        sample = source.sample(source.kinds[0], source.usual_encoding, number=number, now=now)
        callback = Callback(headers=(), body=sample.body, peer="", received=now, sample=True)
        [happening] = understood(gate, callback)
        draft = self._draft(gate.name, happening, at)
        return draft.event.id, draft.body

    # --- down the page --------------------------------------------------------------------

    def _foresee(self, source: str, data: Data, at: float) -> _Foreseen | None:
        """The order that the event names, if it is one that gives a request its number.

        Events that come from now on belong to it: they are recorded after it.
        """
        if not isinstance(data, NumberAssigned) or data.request_id is None:
            return None
        given = Order(
            id=self._identity.event_id(at),
            source=source,
            provider=data.provider,
            kind="request_id",
            name=data.request_id,
            number=data.to,
            service=None if data.service is None else data.service.id,
            country=data.country,
            price=data.price,
            created_at=at,
            expires_at=at + lasting("request_id"),
            lasts=lasting("request_id"),
            origin=RegisteredBy.PROVIDER,
        )
        given = provided(given)
        before = self._book.known(given)
        return _Foreseen(given, before, self._book.foresee(given, None))

    def _take_orders(
        self, foreseen: Sequence[_Foreseen | None], outcome: Recorded | Exception
    ) -> None:
        """Put what became of the orders that events name into the book."""
        orders = () if isinstance(outcome, Exception) else outcome.orders
        for one in filter(None, reversed(foreseen)):
            self._book.take_back(one.order, one.before)
        for order in orders:
            self._book.put(order)

    def _joined(self, source: str, happening: Happening, at: float) -> _Draft:
        """With what its order knows, which routes may ask for."""
        if not self._book:
            return self._draft(source, happening, at)
        told = told_by(happening.data, time=happening.time, at=at)
        order = self._book.find(source, told)
        if order is None:
            return self._draft(source, happening, at)
        data, taken = joined(happening.data, order)
        happening = msgspec.structs.replace(happening, data=data)
        return self._draft(source, happening, at, order.id, taken)

    def _draft(
        self,
        source: str,
        happening: Happening,
        at: float,
        order: str | None = None,
        taken: tuple[str, ...] = (),
    ) -> _Draft:
        """The event that a happening becomes, and which routes and sinks are for it."""
        recordedtime = rfc3339(at)
        keys = tuple(self._identity.dedupe_key(key) for key in happening.keys)
        event = Event(
            id=self._identity.event_id(at),
            source=source,
            type=happening.data.type,
            subject=happening.subject,
            time=happening.time or recordedtime,
            recordedtime=recordedtime,
            dedupekey=keys[0].hex(),
            data=happening.data,
        )
        body = msgspec.json.encode(event)
        fields = msgspec.to_builtins(event)
        routed = plan(self._routes, fields)
        return _Draft(event, fields, body, keys, happening.twin, routed, order, taken)

    def _plan(self, draft: _Draft, at: float, tells: Order | None = None) -> Planned:
        """What the event owes, with a place kept in the queue of each sink that has room."""
        return Planned(
            event=draft.event,
            at=at,
            body=draft.body,
            keys=draft.keys,
            twin=draft.twin,
            order=draft.order,
            taken=draft.taken,
            tells=tells,
            routes=draft.plan.routes,
            owed=tuple(self._workers[sink].owe(draft.fields) for sink in draft.plan.sinks),
        )

    def _hand_over(self, plans: Sequence[Planned], outcome: Recorded | Exception) -> None:
        """What was committed goes straight to the sinks, whether its caller still waits or not."""
        recorded = None if isinstance(outcome, Exception) else outcome
        new = recorded.new if recorded else [False] * len(plans)
        for planned, is_new in zip(plans, new, strict=True):
            if recorded is None or not is_new:
                forget(self._workers, planned.owed)
                continue
            if planned.order is not None and planned.event.type in AWAITED:
                self._book.received(planned.order)
            id_ = planned.event.id
            taken = [one for one in recorded.deliveries if one.event_id == id_]
            hand_over(self._workers, planned.owed, taken, at=planned.at)

    def _say(
        self, caller: Caller, callback: Callback, plans: Sequence[Planned], recorded: Recorded
    ) -> None:
        what = {
            "request_id": caller.request_id,
            "source": caller.source,
            "peer": callback.peer,
            "bytes": len(callback.body),
            "channel": None if callback.channel == "callback" else callback.channel,
        }
        for planned, id_, new in zip(plans, recorded.ids, recorded.new, strict=True):
            if not new:
                if callback.channel == "callback":  # each poll tells again what is there
                    self._log.info("callback.duplicate", event_id=id_, **what)
                continue
            self._log.info("callback.accepted", **_said(planned), **what)

    def _complain(self, exc: Unavailable) -> None:
        """Once a second: a full disk refuses thousands of callbacks a second."""
        if self._ticks() - self._complained < 1 and not isinstance(exc, Broken):
            return
        self._complained = self._ticks()
        self._log.error("journal.error", error=str(exc))


def _end_of(order: Order, reason: str, gate: SourceState | None) -> Happening:
    """The end of an order, in the words of its source if that is configured."""
    source = None if gate is None else gate.source
    named: Mapping[str, Any] = {} if order.kind == BY_NUMBER else {order.kind: order.name}
    return Happening(
        subject=order.subject,
        time=None,
        # An order ends once: the journal sees to that, and the key only tells it from others.
        keys=(Key(parts=("order.expired", order.id)),),
        data=OrderExpired(
            provider=order.provider,
            channel="callback",
            labels={**(source.labels if source else {}), **order.labels},
            reference=order.reference,
            sample=False,
            time_from="received",
            to=order.number,
            country=order.country or (source.country if source else None),
            service=service_of(source, order.service),
            reason=reason,
            **named,
        ),
    )


def service_of(source: Source | None, id_: str | None) -> Service | None:
    """The service with that id, as the source's events have it; None: no source is configured."""
    return source.service(id_) if source else service(id_)


def _low(balance: AccountBalance, gate: SourceState, unique: str) -> Happening:
    """`unique` makes it another event than that of the last crossing."""
    source = gate.source
    return Happening(
        subject=f"account/{gate.name}",
        time=None,
        keys=(Key(parts=("account.low", unique)),),
        data=AccountLow(
            provider=str(type(source).__struct_config__.tag),
            channel="poll",
            labels=source.labels,
            sample=False,
            time_from="received",
            balance=Money(amount=balance.amount, currency=balance.currency),
            threshold=source.low_balance or "",
        ),
    )


def _said(planned: Planned) -> Mapping[str, object]:
    """What the log says of an event that is new."""
    data = planned.event.data
    service = getattr(data, "service", None)
    return {
        "event_id": planned.event.id,
        "type": planned.event.type,
        "service": service and (service.name or service.id),
        "to": masked(getattr(data, "to", None)),
        "sinks": [owed.sink for owed in planned.owed],
    }


def masked(number: str | None) -> str | None:
    """A phone number that can be recognized but not called: `+1850***4729`."""
    if number is None:
        return None
    return f"{number[:5]}***{number[-4:]}" if len(number) > 10 else f"***{number[-2:]}"  # noqa: PLR2004 - shorter ones would show too much


def _arrival(caller: Caller, callback: Callback) -> Arrival:
    return Arrival(
        source=caller.source,
        channel=callback.channel,
        token=caller.token,
        peer=callback.peer,
        at=callback.received.timestamp(),
        headers=callback.headers,
        body=callback.body,
    )
