"""Events: list, show with their deliveries, replay; each key sees its own."""

from collections.abc import Callable, Sequence
from datetime import datetime
from functools import partial
from typing import Annotated, Literal

import msgspec
from litestar import get, post
from litestar.params import FromPath
from msgspec import Meta

from core.clock import utc
from core.event import id_of, secrets_of
from core.instants import Instant
from core.printable import NAMED, named
from core.services import wanted_services
from journal import Journal
from journal.reads import (
    CallbackOfEvent,
    EventById,
    EventFilter,
    Events,
    IsVisible,
    Page,
    VisibleEvents,
)
from journal.records import Arrival, Replayed, StoredEvent
from journal.seal import Kind, Opening, Reason
from receiver.credentials import Headers
from sinks.redact import mask_codes

from ..runtime.current import Current
from ..runtime.delivery_states import DeliveryStates
from ..runtime.identity import Identity
from ..runtime.keys import Access
from ..runtime.readers import Readers
from ..runtime.redelivery import Redelivery, UnknownSinks
from ..runtime.subscriptions import LiveSubscriptions
from ..tracing import Tracer
from .auth import ApiRequest, missing, needs
from .deliveries import ShownDelivery, seen_deliveries, shown_delivery
from .errors import Problem, not_found
from .idempotency import Calls
from .operation import Operation
from .paging import Cursors, PageAnswer, PageRequest
from .parameters import (
    EventType,
    Flag,
    Limit,
    PhoneNumber,
    Text,
    e164,
    is_uuid,
    read,
    read_body,
    read_range,
)
from .router import ApiRouter
from .who import ShownReader, Who

#: Events that are decoded in one piece to match the `when` of a key. The door shares the thread.
AT_ONCE = 200
#: Events that are decoded for one page. The cursor of a page that is not full continues the search.
MOST = 5_000


class EventFilters(msgspec.Struct, frozen=True, kw_only=True):
    """The filters of events. An event passes each of them with any of its values."""

    #: Types, such as `sms.received`.
    type: tuple[EventType, ...] = ()
    #: Names of sources.
    source: tuple[Text, ...] = ()
    #: Subjects, such as `request/10000001`.
    subject: tuple[Text, ...] = ()
    #: Services, each as its id, name or key.
    service: tuple[Text, ...] = ()
    #: Numbers that received it, with or without `+`.
    number: tuple[PhoneNumber, ...] = ()
    #: The provider's ids of requests.
    request_id: tuple[Text, ...] = ()
    #: The provider's ids of activations.
    activation_id: tuple[Text, ...] = ()
    #: The provider's ids of rentals.
    rental_id: tuple[Text, ...] = ()
    #: References of orders.
    reference: tuple[Text, ...] = ()
    #: Whether it has a code.
    code: Flag | None = None
    #: The earliest `recordedtime`: RFC 3339, or how long ago, such as `10m`.
    since: Instant | None = None
    #: The end of the range, exclusive, in the forms of `since`.
    until: Instant | None = None

    def filter(self, now: float) -> EventFilter:
        """Return the filter of the journal. Raise Problem if nothing lies in the time."""
        since, until = read_range(self.since, self.until, now)
        # Stored events have the keys and names that services had when they were accepted.
        spelled = [one for value in self.service for one in wanted_services(value)]
        return EventFilter(
            type=self.type,
            source=self.source,
            subject=self.subject,
            service=tuple(dict.fromkeys(spelled)),
            number=tuple(map(e164, self.number)),
            request_id=self.request_id,
            activation_id=self.activation_id,
            rental_id=self.rental_id,
            reference=self.reference,
            code=None if self.code is None else self.code == "true",
            since=since,
            until=until,
        )


class EventParameters(EventFilters, frozen=True, kw_only=True):
    """The parameters of a list of events."""

    #: Ids of events.
    id: tuple[Text, ...] = ()
    #: The maximum number of events.
    limit: Limit = Limit(100)
    #: `asc`: the oldest first, in the order in which they were accepted.
    order: Literal["asc", "desc"] = "asc"
    #: A `next_cursor`, or the cursor of an event.
    after: Text | None = None


class ShowParameters(msgspec.Struct, frozen=True, kw_only=True):
    """The parameters of a single event."""

    #: Whether to add the callback as it arrived.
    raw: Flag = "false"


#: The JSON of an event.
EventJson = Annotated[msgspec.Raw, Meta(extra_json_schema={"$ref": "#/components/schemas/Event"})]


class ListedEvent(msgspec.Struct, frozen=True, kw_only=True):
    """An event with its place."""

    #: The place of the event. Pass it as `after` to get newer events.
    cursor: str
    event: EventJson


class ShownDuplicate(msgspec.Struct, frozen=True, kw_only=True):
    """A further copy of the event: when and from where it came."""

    at: datetime
    channel: str
    peer: str


class ShownMatch(msgspec.Struct, frozen=True, kw_only=True):
    """A route, and whether it matched when the event was accepted."""

    name: str
    matched: bool


class ShownCallback(msgspec.Struct, frozen=True, kw_only=True):
    """The callback as it arrived; the body in base64."""

    headers: Sequence[tuple[str, str]]
    body: bytes
    peer: str
    at: datetime


class WholeEvent(msgspec.Struct, frozen=True, kw_only=True):
    """An event with its duplicates, deliveries and routes."""

    event: EventJson
    duplicates: Sequence[ShownDuplicate]
    deliveries: Sequence[ShownDelivery]
    routes: Sequence[ShownMatch]
    #: Those who got it, masked or in clear; only for keys with `audit:read`.
    readers: Sequence[ShownReader] | msgspec.UnsetType = msgspec.UNSET
    #: Only with `raw=true`; null if it is no longer stored.
    raw: ShownCallback | msgspec.UnsetType | None = msgspec.UNSET


class ReplayRequest(msgspec.Struct, frozen=True, kw_only=True):
    """The sinks that get the event again."""

    #: Missing: the sinks of the first deliveries that are still configured.
    sinks: Annotated[Sequence[str], Meta(extra_json_schema={"minItems": 1})] | None = None


class ReplayAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """The ids of the new deliveries, one for each sink."""

    deliveries: Sequence[str]


def events(  # noqa: PLR0913 - one for each part that its calls use
    *,
    journal: Journal,
    cursors: Cursors,
    calls: Calls,
    current: Current,
    redelivery: Redelivery,
    headers: Callable[[str, Headers], Headers],
    identity: Identity,
    states: DeliveryStates,
    subscriptions: LiveSubscriptions,
    readers: Readers,
    who: Who,
    tracer: Tracer,
    now: Callable[[], float],
) -> ApiRouter:
    """Return the calls.

    `headers` takes a source and its callback's headers, and returns those that may be shown.
    """

    @get(
        "/",
        guards=[needs("events:read")],
        operation=Operation(query=EventParameters, errors=("reads_limited",)),
    )
    async def listed(request: ApiRequest) -> PageAnswer[ListedEvent]:
        """List events.

        Without `codes:read`, texts, codes and links are `***`. A key with a `when` gets the events
        that it may see.
        """
        given, began = read(request.scope, EventParameters), now()
        asked = await cursors.asked(given)
        wanted = msgspec.structs.replace(given.filter(now()), id=given.id)
        page = await visible(journal, request.auth, wanted, asked, Reason.LIST)
        items, next_cursor = await cursors.around(asked, page)
        await readers.read_page(request.auth, "list", page.items)
        bodies = (body for _, body in page.items)
        tracer.read("list", request.auth.name, bodies, began=began, ended=now())
        return PageAnswer(
            data=[
                ListedEvent(cursor=cursor, event=shown(request.auth, body, "list"))
                for cursor, (_, body) in zip(items, page.items, strict=True)
            ],
            next_cursor=next_cursor,
            has_more=page.has_more,
        )

    @get(
        "/{event_id:str}",
        guards=[needs("events:read")],
        operation=Operation(query=ShowParameters, errors=("reads_limited",)),
    )
    async def one(request: ApiRequest, event_id: FromPath[str]) -> WholeEvent:
        """Get an event.

        With its duplicates, deliveries and routes. `raw=true` adds the callback as it arrived, and
        needs `codes:read`. With `audit:read`, `readers` says who got the event.
        """
        if not is_uuid(event_id):
            raise not_found("event")  # a later version may have added this call
        raw, began = read(request.scope, ShowParameters).raw == "true", now()
        if raw and not request.auth.may("codes:read"):
            raise missing("codes:read")
        opening = request.auth.opening_to_match(Reason.SHOW)
        kept = await visible_event(journal, request.auth, event_id, opening)
        arrival = await journal.ask(CallbackOfEvent(event_id, Reason.RAW)) if raw else None
        callback: ShownCallback | msgspec.UnsetType | None = None if raw else msgspec.UNSET
        if arrival is not None:
            callback = ShownCallback(
                headers=headers(arrival.source, arrival.headers),
                body=arrival.body,
                peer=arrival.peer,
                at=utc(arrival.at),
            )
        await _record(readers, request.auth, kept, arrival)
        tracer.read("event", request.auth.name, [kept.body], began=began, ended=now())
        may_audit = request.auth.may("audit:read") and request.auth.sees is None
        return WholeEvent(
            event=shown(request.auth, kept.body, "event"),
            readers=await who.saw(kept) if may_audit else msgspec.UNSET,
            duplicates=[
                ShownDuplicate(at=utc(copy.at), channel=copy.channel, peer=copy.peer)
                for copy in kept.duplicates
            ],
            deliveries=[
                shown_delivery(delivery, states, identity, request.auth)
                for delivery in seen_deliveries(kept, request.auth, subscriptions)
            ],
            # The configured routes, then those that matched and are gone.
            routes=[
                ShownMatch(name=name, matched=name in kept.routes)
                for name in dict.fromkeys((*current.config.routes, *kept.routes))
            ],
            raw=callback,
        )

    @post(
        "/{event_id:str}/replay",
        status_code=200,
        guards=[needs("deliveries:write")],
        operation=Operation(body=ReplayRequest, errors=("unknown_sink",)),
    )
    async def replay(request: ApiRequest, event_id: FromPath[str]) -> ReplayAnswer:
        """Replay an event.

        Each sink gets a new delivery of the same event.
        """
        body = await request.body()
        expected = 'write {"sinks": ["NAME"]}, or no body for the sinks of its first deliveries'
        wanted = read_body(body if body.strip() else b"{}", ReplayRequest, expected)
        if wanted.sinks == []:
            text = "sinks: empty; leave it out for the sinks of the first deliveries"
            raise Problem(400, "bad_body", text)
        async with calls.begin(request) as call:
            opening = Opening(tuple(Kind), Reason.REPLAY)
            kept = await visible_event(journal, request.auth, event_id, opening)
            guard = call.guard(partial(_new_deliveries, identity))
            try:
                replayed = await redelivery.replay(kept, wanted.sinks, guard)
            except UnknownSinks as exc:
                raise unknown_sinks(exc) from None
        return _new_deliveries(identity, replayed)

    return ApiRouter("/events", route_handlers=[listed, one, replay])


async def _record(
    readers: Readers, access: Access, kept: StoredEvent, arrival: Arrival | None
) -> None:
    """Record that the key gets an event in clear, maybe with its callback."""
    if arrival is None:
        await readers.read_event(access, "event", kept.body)
    else:
        fields = (*secrets_of(kept.body), "callback")
        await readers.read(access, "raw", fields, event=id_of(kept.body))


def _new_deliveries(identity: Identity, replayed: Replayed) -> ReplayAnswer:
    return ReplayAnswer(deliveries=[identity.delivery_id(number) for number in replayed.ids])


def unknown_sinks(exc: UnknownSinks) -> Problem:
    quoted = ", ".join(repr(named(name)) for name in exc.names[:NAMED])
    return Problem(422, "unknown_sink", f"sinks: no sink is named {quoted}")


async def visible(
    journal: Journal, access: Access, wanted: EventFilter, asked: PageRequest, why: Reason | None
) -> Page[bytes]:
    """Return a page of the events that the key may see, with the parts that it sees in clear.

    `why` None: all parts are masked.
    """
    opening = None if why is None else access.opening(why)
    if access.sees is None:
        return await journal.ask(
            Events(
                filter=wanted,
                after=asked.after,
                limit=asked.limit,
                desc=asked.desc,
                opening=opening,
            )
        )
    page = await journal.ask(
        VisibleEvents(
            shown_to=access.sees.digest,
            filter=wanted,
            after=asked.after,
            limit=asked.limit,
            desc=asked.desc,
            opening=opening,
        )
    )
    return await walk(journal, access, wanted, asked, why) if page is None else page


async def walk(
    journal: Journal,
    access: Access,
    wanted: EventFilter,
    asked: PageRequest,
    why: Reason | None,
    *,
    at_once: int = AT_ONCE,
    most: int = MOST,
) -> Page[bytes]:
    """Return a page by matching each event, while the index of the key is being built."""
    opening = access.opening_to_match(Reason.FILTER if why is None else why)
    found: list[tuple[int, bytes]] = []
    after, looked_at, again = asked.after, 0, None

    def shown_upto(place: int) -> int:
        return max((seq for seq, _ in found if seq <= place), default=asked.after or 0)

    while True:
        page = await journal.ask(
            Events(
                filter=wanted,
                after=after,
                limit=at_once,
                desc=asked.desc,
                opening=opening,
            )
        )
        found += [(seq, body) for seq, body in page.items if _shows(access, body)]
        if again is None and page.again is not None:
            again = shown_upto(page.again)
        if len(found) > asked.limit:
            shown = found[: asked.limit]
            return Page(items=tuple(shown), next_seq=shown[-1][0], has_more=True, again=again)
        after, looked_at = page.next_seq, looked_at + at_once
        # The journal may return a page that is neither full nor the last.
        if not page.has_more:
            # Not the end of the journal: its cursor would reveal that there are hidden events.
            # With `until`, its page may end before events that it has: they are read twice.
            place = shown_upto(page.next_seq) if again is None else again
            if asked.desc and found:
                place = found[-1][0]
            return Page(items=tuple(found), next_seq=place, has_more=False)
        if len(page.items) < at_once or looked_at >= most:
            return Page(items=tuple(found), next_seq=after, has_more=True, again=again)


async def visible_event(
    journal: Journal, access: Access, event_id: str, opening: Opening
) -> StoredEvent:
    """Return the event. `opening` has the kinds that the `when` of the key reads.

    Raise Problem if it does not exist or the key may not see it.
    """
    if access.sees is not None:
        # First: a hidden event must take no more work than one that does not exist.
        shown = await journal.ask(IsVisible(access.sees.digest, event_id))
        if shown is False:
            raise not_found("event")
    kept = await journal.ask(EventById(event_id, opening))
    if kept is None or not _shows(access, kept.body):
        raise not_found("event")
    return kept


def _shows(access: Access, body: bytes) -> bool:
    return access.sees is None or access.sees.holds(msgspec.json.decode(body))


def shown(access: Access, body: bytes, how: str) -> msgspec.Raw:
    """Return the event byte for byte as stored, or with its codes masked.

    `how` is the kind of call, for the metrics.
    """
    if access.reads(body, how):
        return msgspec.Raw(body)
    return msgspec.Raw(mask_codes(body))
