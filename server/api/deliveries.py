"""What is owed and what became of it; the same delivery again."""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

import msgspec
from litestar import Router, get, post
from litestar.params import FromPath

from journal import Attempt, Journal, KeptDelivery, WantedDeliveries
from journal.event import State

from ..identity import Identity
from ..redelivery import Redelivery
from .keys import Access, Asking, needs
from .listing import PAGING, Cursors, Listed
from .problems import Problem, not_found
from .query import any_of, read, text

#: What a reader sees who may not see codes: an answer may repeat what was sent.
_MASK = "***"


class ShownAttempt(msgspec.Struct, frozen=True, kw_only=True):
    """An attempt, as it is shown."""

    at: datetime
    outcome: str
    status: int | None
    error: str | None
    took_ms: float


class ShownDelivery(msgspec.Struct, frozen=True, kw_only=True):
    """A delivery, as it is shown with its event."""

    id: str
    sink: str
    state: str
    attempts: Sequence[ShownAttempt]
    #: Null also where it waits for another of its order.
    next_at: datetime | None


class WithAnswer(ShownAttempt, frozen=True, kw_only=True):
    """And how the sink's answer begins, for those who may see codes."""

    answer: str | None


class WholeDelivery(msgspec.Struct, frozen=True, kw_only=True):
    """A delivery by itself."""

    id: str
    #: The event's id.
    event: str
    sink: str
    state: str
    #: Asked for by somebody, after it was owed at acceptance.
    replay: bool
    attempts: Sequence[WithAnswer]
    next_at: datetime | None
    #: When the event was accepted, or this delivery asked for again.
    accepted_at: datetime


def deliveries(
    *, journal: Journal, cursors: Cursors, redelivery: Redelivery, identity: Identity
) -> Router:
    async def kept_as(delivery_id: str) -> KeptDelivery:
        number = identity.delivery_number(delivery_id)
        kept = None if number is None else await journal.delivery(number)
        if kept is None:
            raise not_found("delivery")
        return kept

    @get("/", guards=[needs("events:read", whole=True)])
    async def listed(request: Asking) -> Listed[WholeDelivery]:
        filters = {"state": any_of(_state), "sink": any_of(text), "event": any_of(text)}
        values = read(request.scope, {**PAGING, **filters})
        asked = await cursors.asked(values)
        wanted = WantedDeliveries(**{name: values[name] for name in filters if name in values})
        page = await journal.deliveries(
            wanted, after=asked.after, limit=asked.limit, desc=asked.desc
        )
        return await cursors.page(asked, page, lambda kept: _whole(kept, request.auth, identity))

    @get("/{delivery_id:str}", guards=[needs("events:read", whole=True)])
    async def one(request: Asking, delivery_id: FromPath[str]) -> WholeDelivery:
        read(request.scope, {})
        return _whole(await kept_as(delivery_id), request.auth, identity)

    @post(
        "/{delivery_id:str}/retry",
        status_code=200,
        guards=[needs("deliveries:write", whole=True)],
    )
    async def retry(request: Asking, delivery_id: FromPath[str]) -> WholeDelivery:
        read(request.scope, {})
        kept = await kept_as(delivery_id)
        state, then = await redelivery.retry(kept.id, kept.sink)
        if state is State.DELIVERED:
            text = "the sink has it; POST /v1/events/ID/replay makes a new delivery"
            raise Problem(409, "already_delivered", text)
        if state is State.SENDING:
            raise Problem(409, "being_sent", "it is being sent just now; look again in a moment")
        if then is None:
            raise not_found("delivery")
        return _whole(then, request.auth, identity)

    return Router("/deliveries", route_handlers=[listed, one, retry])


def shown_delivery(kept: KeptDelivery, identity: Identity) -> ShownDelivery:
    return ShownDelivery(
        id=identity.delivery_id(kept.id),
        sink=kept.sink,
        state=kept.state,
        attempts=[ShownAttempt(**_attempt(attempt)) for attempt in kept.attempts],
        next_at=utc(kept.due_at),
    )


def utc(at: float | None) -> datetime | None:
    return None if at is None else datetime.fromtimestamp(at, UTC)


def shown_answer(answer: bytes | None, access: Access) -> str | None:
    if answer is None:
        return None
    return answer.decode(errors="replace") if access.may("codes:read") else _MASK


def _whole(kept: KeptDelivery, access: Access, identity: Identity) -> WholeDelivery:
    return WholeDelivery(
        id=identity.delivery_id(kept.id),
        event=kept.event_id,
        sink=kept.sink,
        state=kept.state,
        replay=kept.replay,
        attempts=[
            WithAnswer(**_attempt(attempt), answer=shown_answer(attempt.answer, access))
            for attempt in kept.attempts
        ],
        next_at=utc(kept.due_at),
        accepted_at=datetime.fromtimestamp(kept.accepted_at, UTC),
    )


def _attempt(attempt: Attempt) -> dict[str, Any]:
    return {
        "at": datetime.fromtimestamp(attempt.at, UTC),
        "outcome": attempt.outcome,
        "status": attempt.status,
        "error": attempt.error,
        "took_ms": attempt.took_ms,
    }


def _state(written: str) -> State:
    try:
        return State(written)
    except ValueError:
        raise ValueError(f"write one of {', '.join(State)}") from None
