"""The explanation of an event: its arrival, its routes and its deliveries."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

import msgspec
from litestar import get
from litestar.handlers import HTTPRouteHandler
from litestar.params import FromPath
from msgspec import UNSET

from core.clock import utc
from core.erasure import CODES, CONTENT, is_erased
from core.paths import MISSING
from journal import Journal
from journal.reads import CallbackOfEvent
from journal.records import StoredEvent
from journal.seal import Reason
from routes.explain import Finding, explain, leave_out
from routes.match import Part
from sinks.redact import mask

from ..runtime.current import Current
from ..runtime.delivery_states import DeliveryStates
from ..runtime.identity import Identity
from ..runtime.keys import Access
from ..runtime.readers import Readers
from ..runtime.subscriptions import LiveSubscriptions
from .auth import ApiRequest, needs
from .deliveries import ShownAttempt, ShownDelivery, seen_deliveries, shown_delivery
from .errors import not_found
from .events import visible_event
from .operation import Operation
from .parameters import is_uuid


class ShownDoor(msgspec.Struct, frozen=True, kw_only=True):
    """The arrival of the event."""

    at: datetime
    #: `callback` or `poll`.
    channel: str
    peer: str
    #: The fingerprint of the source's token; null for keys with a `when`.
    token: str | None


class ShownCopy(msgspec.Struct, frozen=True, kw_only=True):
    """A further arrival of the same message. It made no second event."""

    at: datetime
    channel: str
    peer: str
    #: `duplicate`: the same way again. `copy`: the other way, by callback or by poll.
    how: str


class ShownDedupe(msgspec.Struct, frozen=True, kw_only=True):
    dedupekey: str
    copies: Sequence[ShownCopy]


class ShownFinding(msgspec.Struct, frozen=True, kw_only=True):
    """A clause of a filter about the event."""

    #: Its place in the `when`: `data.price.amount.$gte`, `$or[1].data.code`, `$not`.
    clause: str
    holds: bool
    wanted: Any
    #: The event's value; null if there is no such field, or for a clause that joins others.
    saw: Any
    missing: bool
    #: For `$or`, the first failing clause of each branch; for `$not`, the clause that matched.
    below: Sequence["ShownFinding"]


class ShownReason(msgspec.Struct, frozen=True, kw_only=True):
    """A route or subscription, and why it did not match."""

    name: str
    #: Whether it matched when the event was accepted.
    matched: bool
    #: Whether it matches now. Null: it is gone, or depends on fields that the key may not see.
    matches: bool | None
    #: The first clause that fails now.
    fails: ShownFinding | None


class ShownProgress(ShownDelivery, frozen=True, kw_only=True):
    """A delivery with its last error."""

    #: Created by a replay, not when the event was accepted.
    replay: bool
    #: The last attempt that failed or was refused.
    last_error: ShownAttempt | None


class ShownWay(msgspec.Struct, frozen=True, kw_only=True):
    """The arrival, the routes and the deliveries of an event, with reasons."""

    id: str
    #: Null for an event that no callback or poll brought, such as `order.expired`.
    door: ShownDoor | None
    dedupe: ShownDedupe
    routes: Sequence[ShownReason]
    #: The key's own; for `admin`, all. Their names are those of their sinks.
    subscriptions: Sequence[ShownReason]
    deliveries: Sequence[ShownProgress]


def why(
    *,
    journal: Journal,
    current: Current,
    subscriptions: LiveSubscriptions,
    states: DeliveryStates,
    identity: Identity,
    readers: Readers,
) -> HTTPRouteHandler:
    def own(access: Access) -> Mapping[str, Part]:
        sees_all = access.may("admin") and access.sees is None
        return {
            live.name: live.filter
            for live in subscriptions
            if sees_all or live.stored.key == access.name
        }

    def progress(kept: StoredEvent, access: Access) -> Sequence[ShownProgress]:
        shown = []
        for delivery in seen_deliveries(kept, access, subscriptions):
            fields = msgspec.structs.asdict(shown_delivery(delivery, states, identity, access))
            failed = [one for one in fields["attempts"] if one.outcome != "delivered"]
            last = failed[-1] if failed else None
            shown.append(ShownProgress(**fields, replay=delivery.replay, last_error=last))
        return shown

    @get(
        "/events/{event_id:str}/why",
        guards=[needs("events:read")],
        operation=Operation(errors=("reads_limited",)),
    )
    async def answer(request: ApiRequest, event_id: FromPath[str]) -> ShownWay:
        """Explain an event.

        The answer has its arrival and its copies, and says why each route matched or not and why
        each delivery waits.
        """
        if not is_uuid(event_id):
            raise not_found("event")
        access = request.auth
        opening = access.opening_to_match(Reason.EXPLAIN)
        kept = await visible_event(journal, access, event_id, opening)
        arrival = await journal.ask(CallbackOfEvent(event_id, erased=True))
        event = msgspec.json.decode(kept.body)
        channel = None if arrival is None else arrival.channel
        filters = own(access)
        first = [one.sink for one in kept.deliveries if not one.replay]
        owed = [sink for sink in first if sink in filters]
        reasons = _reasons(
            {one.name: one.when for one in current.routes}, kept.routes, event, access
        )
        own_reasons = _reasons(filters, owed, event, access)
        if any(one.fails is not None for one in (*reasons, *own_reasons)):
            # A failing clause shows the value that it saw.
            await readers.read_event(access, "explain", kept.body)
        return ShownWay(
            id=event_id,
            door=None
            if arrival is None
            else ShownDoor(
                at=utc(arrival.at),
                channel=arrival.channel,
                peer=arrival.peer,
                token=arrival.token if access.sees is None else None,
            ),
            dedupe=ShownDedupe(
                dedupekey=event["dedupekey"],
                copies=[
                    ShownCopy(
                        at=utc(one.at),
                        channel=one.channel,
                        peer=one.peer,
                        how="duplicate" if one.channel == channel else "copy",
                    )
                    for one in kept.duplicates
                ],
            ),
            routes=reasons,
            subscriptions=own_reasons,
            deliveries=progress(kept, access),
        )

    return answer


def _reasons(
    filters: Mapping[str, Part],
    matched: Sequence[str],
    event: dict[str, object],
    access: Access,
) -> Sequence[ShownReason]:
    """Return the reasons for `filters`, then for names that matched and are gone."""
    # The `when` of a route may hide nothing from a key that sees all events, and only from it.
    judged = {name: None if access.sees else when for name, when in filters.items()}
    erased = [path for path in CONTENT if is_erased(event, (path,))]
    shown = []
    for name in dict.fromkeys((*filters, *matched)):
        when, matches, finding = judged.get(name), None, None
        if when is not None:
            clear = access.may("codes:read")
            # A key without codes:read gets only conclusions from the masked event.
            hidden = () if clear else CODES
            seen = leave_out(when, (*hidden, *erased))
            finding = explain(seen, event if clear else mask(event, CODES))
            matches = False if finding else (True if seen is when else None)
        shown.append(
            ShownReason(
                name=name,
                matched=name in matched,
                matches=matches,
                fails=None if finding is None else _shown(finding),
            )
        )
    return shown


def _shown(finding: Finding) -> ShownFinding:
    saw = finding.saw
    return ShownFinding(
        clause=finding.clause,
        holds=finding.holds,
        wanted=finding.wanted,
        saw=None if saw is UNSET or saw is MISSING else saw,
        missing=saw is MISSING,
        below=[_shown(below) for below in finding.below],
    )
