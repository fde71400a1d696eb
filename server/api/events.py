"""Events as they are sent, with what became of them."""

import re
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import msgspec
from litestar import Router, get
from litestar.params import FromPath

from journal import Arrival, Attempt, Journal, Kept, KeptDelivery, Wanted

from .keys import Asking, missing, needs
from .listing import PAGING, Cursors, Listed
from .problems import bad_parameter, not_found
from .query import Readers, any_of, event_type, flag, instant, number, once, read, text
from .visible import is_visible, shown, visible

_ID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")


class Item(msgspec.Struct, frozen=True, kw_only=True):
    cursor: str
    event: msgspec.Raw


class ShownDuplicate(msgspec.Struct, frozen=True, kw_only=True):
    """When and from where the event came again."""

    at: datetime
    channel: str
    peer: str


class ShownAttempt(msgspec.Struct, frozen=True, kw_only=True):
    """An attempt, as it is shown."""

    at: datetime
    outcome: str
    status: int | None
    error: str | None
    took_ms: float


class ShownDelivery(msgspec.Struct, frozen=True, kw_only=True):
    """A delivery, as it is shown."""

    id: str
    sink: str
    state: str
    attempts: Sequence[ShownAttempt]
    next_at: datetime | None


class ShownRoute(msgspec.Struct, frozen=True, kw_only=True):
    """Whether a route took the event, when it was accepted."""

    name: str
    matched: bool


class ShownCallback(msgspec.Struct, frozen=True, kw_only=True):
    """The callback as it came; the body in base64."""

    headers: Sequence[tuple[str, str]]
    body: bytes
    peer: str
    at: datetime


class Whole(msgspec.Struct, frozen=True, kw_only=True):
    """An event with all that is known of it."""

    event: msgspec.Raw
    duplicates: Sequence[ShownDuplicate]
    deliveries: Sequence[ShownDelivery]
    routes: Sequence[ShownRoute]
    #: Only where it was asked for; null where it is not kept any more.
    raw: ShownCallback | msgspec.UnsetType | None = msgspec.UNSET


def events(
    *, journal: Journal, cursors: Cursors, routes: Sequence[str], now: Callable[[], float]
) -> Router:
    """`routes` are the names of those that are configured."""
    filters = _filters(now)

    @get("/", guards=[needs("events:read")])
    async def listed(request: Asking) -> Listed[Item]:
        values = read(request.scope, {**PAGING, **filters})
        asked, wanted = cursors.asked(values), _wanted(values, filters)
        page = await visible(journal, request.auth, wanted, asked)
        return Listed(
            data=[
                Item(cursor=cursors.at(seq), event=shown(request.auth, body))
                for seq, body in page.items
            ],
            next_cursor=cursors.at(page.next_seq),
            has_more=page.has_more,
        )

    @get("/{event_id:str}", guards=[needs("events:read")])
    async def one(request: Asking, event_id: FromPath[str]) -> Whole:
        if not _ID.fullmatch(event_id):
            raise not_found("event")  # calls of a later version are none of this one's events
        raw = read(request.scope, {"raw": once(flag)}).get("raw", False)
        if raw and not request.auth.may("codes:read"):
            raise missing("codes:read")
        kept = await journal.event(event_id)
        if kept is None or not is_visible(request.auth, kept.body):
            raise not_found("event")
        return Whole(
            event=shown(request.auth, kept.body),
            duplicates=[
                ShownDuplicate(at=_utc(copy.at), channel=copy.channel, peer=copy.peer)
                for copy in kept.duplicates
            ],
            deliveries=[_delivery(delivery) for delivery in kept.deliveries],
            routes=_routes(kept, routes),
            raw=_callback(await journal.callback(event_id)) if raw else msgspec.UNSET,
        )

    return Router("/events", route_handlers=[listed, one])


def _filters(now: Callable[[], float]) -> Readers:
    texts = any_of(text)
    return {
        "type": any_of(event_type),
        "source": texts,
        "subject": texts,
        "service": texts,
        "number": any_of(number),
        "request_id": texts,
        "activation_id": texts,
        "rental_id": texts,
        "reference": texts,
        "code": once(flag),
        "since": once(instant(now)),
        "until": once(instant(now)),
    }


def _wanted(values: Mapping[str, Any], filters: Readers) -> Wanted:
    wanted = Wanted(**{name: value for name, value in values.items() if name in filters})
    if wanted.since is not None and wanted.until is not None and wanted.until < wanted.since:
        raise bad_parameter("until", "before since: nothing lies between them")
    return wanted


def _routes(kept: Kept, configured: Sequence[str]) -> list[ShownRoute]:
    """What is configured now, then what was when it matched."""
    names = dict.fromkeys((*configured, *kept.routes))
    return [ShownRoute(name=name, matched=name in kept.routes) for name in names]


def _delivery(delivery: KeptDelivery) -> ShownDelivery:
    return ShownDelivery(
        id=str(delivery.id),
        sink=delivery.sink,
        state=delivery.state,
        attempts=[_attempt(attempt) for attempt in delivery.attempts],
        next_at=None if delivery.due_at is None else _utc(delivery.due_at),
    )


def _attempt(attempt: Attempt) -> ShownAttempt:
    return ShownAttempt(
        at=_utc(attempt.at),
        outcome=attempt.outcome,
        status=attempt.status,
        error=attempt.error,
        took_ms=attempt.took_ms,
    )


def _callback(arrival: Arrival | None) -> ShownCallback | None:
    if arrival is None:
        return None
    return ShownCallback(
        headers=arrival.headers, body=arrival.body, peer=arrival.peer, at=_utc(arrival.at)
    )


def _utc(at: float) -> datetime:
    return datetime.fromtimestamp(at, UTC)
