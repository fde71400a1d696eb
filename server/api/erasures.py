"""Erasure on request: the content of an event, or all that holds a number."""

import msgspec
from litestar import Response, delete, post
from litestar.params import FromPath

from ..runtime.erasure import Erasures
from ..runtime.identity import Identity
from .auth import ApiRequest, needs
from .errors import bad_body, not_found
from .idempotency import Calls
from .operation import Operation
from .parameters import PhoneNumber, Switch, e164, is_uuid, read_body
from .router import ApiRouter

_EXPECTED = 'write {"number": "+18503814729"}'


class ErasureRequest(msgspec.Struct, frozen=True, kw_only=True):
    """The number to erase."""

    #: With its country's code, with or without `+`.
    number: PhoneNumber | None = None
    #: Only count what holds the number.
    dry_run: Switch = False


class ErasureAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """An erasure that is done."""

    #: Null for a dry run.
    id: str | None
    #: The events with erased content.
    events: int
    #: The orders without their number.
    orders: int
    #: The callbacks that left quarantine. Null for a dry run.
    quarantine: int | None


class ErasedEvent(msgspec.Struct, frozen=True, kw_only=True):
    """An event without its content."""

    id: str


def erasures(*, erasures: Erasures, calls: Calls, identity: Identity) -> list[ApiRouter]:
    @delete(
        "/{event_id:str}/content",
        status_code=200,
        guards=[needs("admin", whole=True)],
        operation=Operation(),
    )
    async def erase_event(event_id: FromPath[str]) -> ErasedEvent:
        """Erase the content of an event.

        The text, the code, links, numbers, the callback and the answers of sinks are gone when the
        call is answered; the rest stays. Pending deliveries that need them expire.
        """
        if not (is_uuid(event_id) and await erasures.erase_event(event_id)):
            raise not_found("event")
        return ErasedEvent(id=event_id)

    @post(
        "/",
        guards=[needs("admin", whole=True)],
        operation=Operation(
            body=ErasureRequest,
            required=("number",),
            answers={200: ErasureAnswer, 202: ErasureAnswer},
        ),
    )
    async def erase_number(request: ApiRequest) -> Response[ErasureAnswer]:
        """Erase a number.

        The content of each event that holds the number is erased, as for a single event; so is the
        number of orders, and open ones are cancelled. Callbacks in quarantine that hold it are
        deleted. It answers 202 when all that is done. With `dry_run` it answers 200, and only
        counts.
        """
        body = read_body(await request.body(), ErasureRequest, _EXPECTED)
        if body.number is None:
            raise bad_body("number", f"missing; {_EXPECTED}")
        number = e164(body.number)
        async with calls.begin(request) as call:
            if body.dry_run:
                found = await erasures.count_number(number)
                return Response(
                    ErasureAnswer(
                        id=None, events=found.events, orders=found.orders, quarantine=None
                    ),
                    status_code=200,
                )
            erased = await erasures.erase_number(number)
            answer = ErasureAnswer(
                id=identity.request_id(),
                events=erased.events,
                orders=erased.orders,
                quarantine=erased.quarantine,
            )
            await call.keep(answer, 202)
        return Response(answer, status_code=202)

    return [
        ApiRouter("/events", route_handlers=[erase_event]),
        ApiRouter("/erasures", route_handlers=[erase_number]),
    ]
