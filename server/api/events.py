"""Events as they are sent, with what became of them."""

import re
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import msgspec
from litestar import Router, get, post
from litestar.params import FromPath

from core.services import wanted_services
from journal import Journal
from journal.reads import CallbackOfEvent, EventFilter
from journal.records import Arrival, StoredEvent
from receiver.credentials import Headers

from ..runtime.delivery_states import DeliveryStates
from ..runtime.identity import Identity
from ..runtime.redelivery import Redelivery, UnknownSinks
from .auth import Asking, missing, needs
from .deliveries import ShownDelivery, shown_delivery
from .errors import Problem, bad_parameter, not_found
from .paging import PAGING, Cursors, PageAnswer
from .parameters import Readers, any_of, event_type, flag, instant, number, once, read, text
from .visible import shown, visible, visible_event

#: Of names that we do not know, so much and so many are said back.
_NAMED = 40
_ID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")


class Item(msgspec.Struct, frozen=True, kw_only=True):
    cursor: str
    event: msgspec.Raw


class ShownDuplicate(msgspec.Struct, frozen=True, kw_only=True):
    """When and from where the event came again."""

    at: datetime
    channel: str
    peer: str


class ShownMatch(msgspec.Struct, frozen=True, kw_only=True):
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
    routes: Sequence[ShownMatch]
    #: Only where it was asked for; null where it is not kept any more.
    raw: ShownCallback | msgspec.UnsetType | None = msgspec.UNSET


class ReplayRequest(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """To whom an event is owed once more."""

    #: Missing: those that it was owed to at acceptance and that are still configured.
    sinks: Sequence[str] | None = None


class ReplayAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """The ids of the new deliveries, one a sink."""

    deliveries: Sequence[str]


def events(
    *,
    journal: Journal,
    cursors: Cursors,
    routes: Sequence[str],
    redelivery: Redelivery,
    headers: Callable[[str, Headers], Headers],
    identity: Identity,
    states: DeliveryStates,
    now: Callable[[], float],
) -> Router:
    """`routes` are the names of those that are configured.

    `headers` returns what may be shown of a callback's headers, from its source and them.
    """
    filters = _filters(now)

    @get("/", guards=[needs("events:read")])
    async def listed(request: Asking) -> PageAnswer[Item]:
        values = read(request.scope, {**PAGING, **filters})
        asked, wanted = await cursors.asked(values), _wanted(values, filters)
        page = await visible(journal, request.auth, wanted, asked)
        places = [*(seq for seq, _ in page.items), page.next_seq]
        *items, next_cursor = await cursors.at(places, desc=asked.desc)
        return PageAnswer(
            data=[
                Item(cursor=cursor, event=shown(request.auth, body))
                for cursor, (_, body) in zip(items, page.items, strict=True)
            ],
            next_cursor=next_cursor,
            has_more=page.has_more,
        )

    @get("/{event_id:str}", guards=[needs("events:read")])
    async def one(request: Asking, event_id: FromPath[str]) -> Whole:
        if not _ID.fullmatch(event_id):
            raise not_found("event")  # calls of a later version are none of this one's events
        raw = read(request.scope, {"raw": once(flag)}).get("raw", False)
        if raw and not request.auth.may("codes:read"):
            raise missing("codes:read")
        kept = await visible_event(journal, request.auth, event_id)
        if kept is None:
            raise not_found("event")
        return Whole(
            event=shown(request.auth, kept.body),
            duplicates=[
                ShownDuplicate(at=_utc(copy.at), channel=copy.channel, peer=copy.peer)
                for copy in kept.duplicates
            ],
            deliveries=[shown_delivery(delivery, states, identity) for delivery in kept.deliveries],
            routes=_routes(kept, routes),
            raw=_callback(await journal.ask(CallbackOfEvent(event_id)), headers)
            if raw
            else msgspec.UNSET,
        )

    @post("/{event_id:str}/replay", status_code=200, guards=[needs("deliveries:write")])
    async def replay(request: Asking, event_id: FromPath[str]) -> ReplayAnswer:
        read(request.scope, {})
        wanted = _replay(await request.body())
        kept = await visible_event(journal, request.auth, event_id)
        if kept is None:
            raise not_found("event")
        try:
            ids = await redelivery.replay(kept, wanted.sinks)
        except UnknownSinks as exc:
            quoted = ", ".join(repr(name[:_NAMED]) for name in exc.names[:_NAMED])
            raise Problem(422, "unknown_sink", f"sinks: no sink is named {quoted}") from None
        return ReplayAnswer(deliveries=[identity.delivery_id(number) for number in ids])

    return Router("/events", route_handlers=[listed, one, replay])


def _replay(body: bytes) -> ReplayRequest:
    try:
        wanted = msgspec.json.decode(body, type=ReplayRequest) if body.strip() else ReplayRequest()
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        text = 'write {"sinks": ["NAME"]}, or nothing for those it was owed to at acceptance'
        raise Problem(400, "bad_body", text) from None
    if wanted.sinks is not None and not wanted.sinks:
        raise Problem(400, "bad_body", "sinks: names none; leave it out for those it was owed to")
    return wanted


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


def _wanted(values: Mapping[str, Any], filters: Readers) -> EventFilter:
    given = {name: value for name, value in values.items() if name in filters}
    # Stored events hold the keys and names that were in use when they came.
    spelled = [one for value in given.get("service", ()) for one in wanted_services(value)]
    wanted = EventFilter(**{**given, "service": tuple(dict.fromkeys(spelled))})
    if wanted.since is not None and wanted.until is not None and wanted.until < wanted.since:
        raise bad_parameter("until", "before since: nothing lies between them")
    return wanted


def _routes(kept: StoredEvent, configured: Sequence[str]) -> list[ShownMatch]:
    """What is configured now, then what was when it matched."""
    names = dict.fromkeys((*configured, *kept.routes))
    return [ShownMatch(name=name, matched=name in kept.routes) for name in names]


def _callback(
    arrival: Arrival | None, headers: Callable[[str, Headers], Headers]
) -> ShownCallback | None:
    if arrival is None:
        return None
    return ShownCallback(
        headers=headers(arrival.source, arrival.headers),
        body=arrival.body,
        peer=arrival.peer,
        at=_utc(arrival.at),
    )


def _utc(at: float) -> datetime:
    return datetime.fromtimestamp(at, UTC)
