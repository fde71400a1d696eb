"""The facts that each write adds to the audit log. Pure: every database shares it."""

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import lru_cache
from typing import Any
from urllib.parse import urlsplit

import msgspec

from core.clock import rfc3339
from core.delivery import State
from core.order import Order, OrderState

from .actor import Actor
from .audit.lines import Fact, read_ranges
from .decide import NO_CALLBACK, POLL
from .records import Arrival, ReplayState
from .rows import Changes, NewEvent
from .writes import (
    CancelOrder,
    CancelReplay,
    ChangeSubscription,
    CreateKey,
    CreateSubscription,
    DeleteSubscription,
    DismissQuarantined,
    EraseContent,
    EraseNumber,
    ExpireOrder,
    LapseOrder,
    PauseSink,
    Prune,
    QuarantineCallback,
    Record,
    RegisterOrder,
    ReplayEvent,
    ResumeSink,
    RetryDeliveries,
    RetryDelivery,
    RevokeKey,
    Settle,
    StartReplay,
    Write,
)

#: The most names in one line. If there are more, the line has their number.
_NAMES = 100
#: Ids of events in one line.
_EVENTS = 300
#: What a journal of `record: access` leaves out: callbacks, deliveries, and what came of them.
TRAFFIC = frozenset(
    (
        "callback.accepted",
        "callback.duplicate",
        "callback.quarantined",
        "callback.rejected",
        "delivery.attempted",
        "delivery.dead",
        "delivery.expired",
        "event.gained",
    )
)

#: Takes the number of a delivery; returns its public id.
Shown = Callable[[int], str]


class AuditOptions(msgspec.Struct):
    """What the log records. A reload may change it at any time."""

    #: Returns seconds since the epoch. It is called in the thread that writes.
    now: Callable[[], float]
    #: Returns the public id of a delivery.
    shown: Shown
    #: Takes events, at least one. Of each: its id, its bytes as sent, and when it was accepted.
    #: Returns their commitments.
    commit: Callable[[Sequence[tuple[str, bytes, float]]], Sequence[str | None]] = lambda events: (
        [None] * len(events)
    )
    #: Whether the keys at hand signed a note.
    signed: Callable[[str], bool] = lambda _note: True
    #: Whether callbacks and deliveries have lines, too.
    everything: bool = False


# --- lines of callbacks and deliveries ----------------------------------------------------------
#
# An event has one of the first and some of the second, so they are written from templates.


def accepted_line(n: int, at: str, new: NewEvent, arrival: Arrival, c: str | None) -> bytes:
    """Return the line of a new event. `at` is formatted; `c` commits to the event as sent."""
    event, owed = new.plan.event, new.plan.owed
    sinks = tuple([one.sink for one in owed]) if owed else ()
    about = _about(event.source, event.type, new.channel, arrival.peer, arrival.token, sinks)
    commits = "" if c is None else f',"c":"{c}"'
    return (
        f'{{"n":{n},"at":"{at}","do":"callback.accepted","event":"{event.id}","place":{new.seq}'
        f"{about}{commits}}}"
    ).encode()


@lru_cache(maxsize=4096)
def _about(
    source: str, type_: str, channel: str, peer: str, token: str, sinks: tuple[str, ...]
) -> str:
    way = (
        f'"from":{_quoted(peer)},"token":{_quoted(token)}'
        if channel not in (POLL, NO_CALLBACK)
        else f'"channel":"{channel}"'
    )
    return (
        f',"source":{_quoted(source)},"type":{_quoted(type_)},{way},"owes":{_quoted_names(sinks)}'
    )


def attempted_line(n: int, at: str, write: Settle, shown: Shown) -> bytes:
    """Return the line of an attempt."""
    delivery, attempt = write.delivery, write.attempt
    assert attempt is not None  # noqa: S101 - the caller asks for attempts only
    number = delivery.attempts + 1
    rest = "" if attempt.status is None else f',"status":{attempt.status}'
    if attempt.error is not None:
        rest += f',"reason":{_quoted(attempt.error)}'
    if attempt.probes:
        rest += f',"probes":{attempt.probes}'
    if write.clear:
        rest += f',"clear":{_quoted_names(write.clear)}'
    return (
        f'{{"n":{n},"at":"{at}","do":"delivery.attempted","event":"{delivery.event_id}"'
        f',"sink":{_quoted(delivery.sink)},"delivery":"{shown(delivery.id)}"'
        f',"attempt":{number},"outcome":"{attempt.outcome}"{rest}}}'
    ).encode()


@lru_cache(maxsize=4096)
def _quoted(text: str) -> str:
    return json.dumps(text)


@lru_cache(maxsize=1024)
def _quoted_names(names: Sequence[str]) -> str:
    return json.dumps(names_or_count(names), separators=(",", ":"))


def names_or_count(names: Sequence[str]) -> Sequence[str] | int:
    """Return names for one line, or their number if they are many."""
    return names if len(names) <= _NAMES else len(names)


# --- facts of writes ----------------------------------------------------------------------------


def facts_of(write: Write[Any], result: Any, actor: Actor, shown: Shown) -> Iterator[Fact]:
    """Yield the facts of a write, except those of new events and attempts.

    A write that changed nothing has none.
    """
    find = _FACTS.get(type(write))
    if find is not None:
        yield from find(write, result, actor.fields, shown)


def is_plain(write: Write[Any], result: Any, *, everything: bool) -> bool:
    """Return whether `facts_of` yields nothing for a write. It is quick for common writes.

    `everything`: callbacks and deliveries have lines.
    """
    if isinstance(write, Settle):
        return not everything or write.state not in (State.DEAD, State.EXPIRED)
    if isinstance(write, Record):
        return write.replaces is None and (not everything or all(result.new))
    return type(write) not in _FACTS


def facts_of_changes(changes: Changes) -> Iterator[Fact]:
    """Yield the facts of new orders that events named."""
    for new in changes.events:
        named = new.plan.named_order
        if named is not None and named.id in changes.new_orders:
            yield Fact("order.placed", {"by": "service", **_order(named)})


def end_of_delivery(
    delivery: int, sink: str, state: State, error: str | None, shown: Shown
) -> Fact:
    """Return the fact of a delivery that was given up. `state` is DEAD or EXPIRED."""
    reason = {} if error is None else {"reason": error}
    fields = {"sink": sink, "delivery": shown(delivery), **reason}
    return Fact("delivery.dead" if state is State.DEAD else "delivery.expired", fields)


def events_of(fact: Fact) -> Sequence[str]:
    """Return the names by which a search finds the line of a fact.

    They are the ids of its events; for places, the names of their parts of the journal. Lines that
    explain other lines have the names in `FOUND`.
    """
    fields = fact.fields
    event, events, places = fields.get("event"), fields.get("events"), fields.get("places", "")
    return [
        *(events if isinstance(events, list | tuple) else ()),  # or how many
        *([] if event is None else [event]),
        *(part_of(part * _PART) for part in _parts(places)),
        *([FOUND[fact.do]] if fact.do in FOUND else []),
    ]


#: Events of one part of the journal, for which the lines with places are found.
_PART = 1024
#: The names of lines that `who` and a start after a crash need.
FOUND: Mapping[str, str] = {
    "config.loaded": "#config",
    "service.started": "#service",
    "stream.opened": "#streams",
    "stream.closed": "#streams",
}


def part_of(place: int) -> str:
    """Return the name of the part of the journal that an event is in."""
    return f"#{place // _PART}"


def _parts(places: str) -> Iterator[int]:
    """Yield the parts that ranges of places touch, each once."""
    last = -1
    for run in read_ranges(places) if places else ():
        for part in range(max(run.start // _PART, last + 1), (run.stop - 1) // _PART + 1):
            yield part
            last = part


_Who = Mapping[str, str]


def _recorded(write: Record, result: Any, who: _Who, _shown: Shown) -> Iterator[Fact]:
    arrival = write.arrival
    if arrival.channel != POLL:
        for id_, new in zip(result.ids, result.new, strict=True):
            if not new:
                yield Fact("callback.duplicate", {"event": id_, **_arrived(arrival)})
    if write.replaces is not None:
        events = result.ids[:_EVENTS]
        yield Fact("quarantine.replayed", {**who, "quarantine": write.replaces, "events": events})


def _arrived(arrival: Arrival) -> Mapping[str, str]:
    return {"source": arrival.source, "from": arrival.peer, "token": arrival.token}


def _quarantined(
    write: QuarantineCallback, result: Any, _who: _Who, _shown: Shown
) -> Iterator[Fact]:
    fields = {"quarantine": result.id, **_arrived(write.arrival)}
    if result.new:
        yield Fact("callback.quarantined", {**fields, "reason": write.reason})
    else:
        yield Fact("callback.duplicate", fields)


def _dismissed(write: DismissQuarantined, done: Any, who: _Who, _shown: Shown) -> Iterator[Fact]:
    if done:
        yield Fact("quarantine.deleted", {**who, "quarantine": write.id})


def _settled(write: Settle, done: Any, _who: _Who, shown: Shown) -> Iterator[Fact]:
    if done and write.state in (State.DEAD, State.EXPIRED):
        delivery, attempt = write.delivery, write.attempt
        error = None if attempt is None else attempt.error
        its = end_of_delivery(delivery.id, delivery.sink, write.state, error, shown)
        yield Fact(its.do, {"event": delivery.event_id, **its.fields})


def _retried(write: RetryDelivery, result: Any, who: _Who, shown: Shown) -> Iterator[Fact]:
    if result is not None and result.state is not State.DELIVERED:
        delivery = {"delivery": shown(write.delivery), "sink": result.sink}
        yield Fact("delivery.retried", {**who, "event": result.event_id, **delivery})


def _all_retried(_write: RetryDeliveries, result: Any, who: _Who, shown: Shown) -> Iterator[Fact]:
    for one in result:
        delivery = {"delivery": shown(one.id), "sink": one.sink}
        yield Fact("delivery.retried", {**who, "event": one.event_id, **delivery})


def _event_replayed(write: ReplayEvent, result: Any, who: _Who, _shown: Shown) -> Iterator[Fact]:
    if result is not None:
        sinks = names_or_count([one.sink for one in write.owed])
        yield Fact("event.replayed", {**who, "event": write.event_id, "sinks": sinks})


def _replay_begun(write: StartReplay, _result: Any, who: _Who, _shown: Shown) -> Iterator[Fact]:
    replay = write.replay
    yield Fact(
        "replay.begun",
        {
            **who,
            "replay": replay.id,
            "since": None if replay.since is None else rfc3339(replay.since),
            "until": None if replay.until is None else rfc3339(replay.until),
            "types": names_or_count(replay.types),
            "sources": names_or_count(replay.sources),
            "sinks": None if replay.sinks is None else names_or_count(replay.sinks),
            "matched": replay.matched,
        },
    )


def _replay_cancelled(write: CancelReplay, result: Any, who: _Who, _: Shown) -> Iterator[Fact]:
    if result is not None and (result.state, result.ended_at) == (ReplayState.CANCELLED, write.at):
        yield Fact("replay.cancelled", {**who, "replay": write.id})


def _order(order: Order) -> Mapping[str, str]:
    return {"order": order.id, "source": order.source, "kind": order.kind}


def _order_placed(_write: RegisterOrder, result: Any, who: _Who, _: Shown) -> Iterator[Fact]:
    if result.new:
        yield Fact("order.placed", {**who, **_order(result.order)})


def _order_cancelled(_write: CancelOrder, result: Any, who: _Who, _: Shown) -> Iterator[Fact]:
    if result is not None and result.state is OrderState.CANCELLED:
        yield Fact("order.cancelled", {**who, **_order(result)})


def _order_expired(write: ExpireOrder, result: Any, who: _Who, _: Shown) -> Iterator[Fact]:
    if result is not None:
        source = write.plan.event.source
        its = {"order": write.plan.order, "source": source, "reason": write.reason}
        yield Fact("order.expired", {**who, **its, "event": result.ids[0]})


def _order_lapsed(_write: LapseOrder, result: Any, who: _Who, _: Shown) -> Iterator[Fact]:
    if result is not None and result.state is OrderState.EXPIRED:
        yield Fact("order.expired", {**who, **_order(result)})


def _sink_paused(write: PauseSink, done: Any, who: _Who, _shown: Shown) -> Iterator[Fact]:
    if done:
        yield Fact("sink.paused", {**who, "sink": write.sink, "reason": write.by})


def _sink_resumed(write: ResumeSink, done: Any, who: _Who, _shown: Shown) -> Iterator[Fact]:
    if done:
        yield Fact("sink.resumed", {**who, "sink": write.sink})


def _key_made(write: CreateKey, result: Any, who: _Who, _shown: Shown) -> Iterator[Fact]:
    if result is not None:
        key = write.key
        its = {"key": key.name, "id": key.id, "scopes": key.scopes}
        limits = {
            "filtered": key.filter is not None,
            "expires_at": None if key.expires_at is None else rfc3339(key.expires_at),
        }
        yield Fact("key.made", {**who, **its, **limits})


def _key_revoked(write: RevokeKey, done: Any, who: _Who, _shown: Shown) -> Iterator[Fact]:
    if done:
        yield Fact("key.revoked", {**who, "id": write.id})


def _subscription(
    write: CreateSubscription | ChangeSubscription, done: Any, who: _Who, _shown: Shown
) -> Iterator[Fact]:
    if done is False:
        return
    its, made = write.subscription, isinstance(write, CreateSubscription)
    host = urlsplit(its.url).hostname  # the rest of an address may be a secret
    fields = {"subscription": its.id, "key": its.key, "host": host}
    yield Fact("subscription.made" if made else "subscription.changed", {**who, **fields})


def _subscription_deleted(
    write: DeleteSubscription, done: Any, who: _Who, _shown: Shown
) -> Iterator[Fact]:
    if done:
        yield Fact("subscription.deleted", {**who, "subscription": write.id})


def _erased(write: EraseContent, result: Any, who: _Who, shown: Shown) -> Iterator[Fact]:
    for begin in range(0, len(result.events), _EVENTS):
        events = result.events[begin : begin + _EVENTS]
        yield Fact("content.erased", {**who, "events": events})
    if result.orders or result.quarantine:
        yield from _number_erased(write, result, who, shown)


def _number_erased(_write: object, result: Any, who: _Who, _: Shown) -> Iterator[Fact]:
    its = {"orders": result.orders, "quarantine": result.quarantine}
    yield Fact("content.erased", {**who, **its})


def _pruned(write: Prune, result: Any, who: _Who, _shown: Shown) -> Iterator[Fact]:
    if result.count:
        before = rfc3339(write.before)
        its = {"kind": write.kind, "count": result.count, "before": before, "to": result.place}
        yield Fact("retention.pruned", {**who, **its})


#: The facts of each kind of write. The others change nothing that an auditor asks for.
_FACTS: Mapping[type, Callable[[Any, Any, _Who, Shown], Iterator[Fact]]] = {
    Record: _recorded,
    QuarantineCallback: _quarantined,
    DismissQuarantined: _dismissed,
    Settle: _settled,
    RetryDelivery: _retried,
    RetryDeliveries: _all_retried,
    ReplayEvent: _event_replayed,
    StartReplay: _replay_begun,
    CancelReplay: _replay_cancelled,
    RegisterOrder: _order_placed,
    CancelOrder: _order_cancelled,
    ExpireOrder: _order_expired,
    LapseOrder: _order_lapsed,
    PauseSink: _sink_paused,
    ResumeSink: _sink_resumed,
    CreateKey: _key_made,
    RevokeKey: _key_revoked,
    CreateSubscription: _subscription,
    ChangeSubscription: _subscription,
    DeleteSubscription: _subscription_deleted,
    EraseContent: _erased,
    EraseNumber: _number_erased,
    Prune: _pruned,
}
