"""Reveals the codes of one event, for keys that see them masked elsewhere."""

import msgspec
from litestar import post
from litestar.handlers import HTTPRouteHandler
from litestar.params import FromPath

from core.event import content_of, secrets_of
from journal import Journal
from journal.seal import Reason

from ..runtime.readers import How, Readers, clean_reason
from .auth import ApiRequest, in_process, needs
from .errors import Problem, not_found
from .events import EventJson, visible_event
from .idempotency import Calls, MadeId
from .operation import Operation
from .parameters import ReasonText, is_uuid, read_body


class RevealRequest(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The reason to reveal the codes of an event."""

    #: The audit log keeps it. Numbers and codes in it are replaced by `***`.
    reason: ReasonText | None = None


class RevealedEvent(msgspec.Struct, frozen=True, kw_only=True):
    """An event with its text, code and links in clear."""

    event: EventJson


def reveal(*, journal: Journal, readers: Readers, calls: Calls) -> HTTPRouteHandler:
    """Declare the call."""

    @post(
        "/events/{event_id:str}/reveal",
        status_code=200,
        guards=[needs("codes:reveal", "codes:read")],
        operation=Operation(body=RevealRequest, errors=("reason_required", "reads_limited")),
    )
    async def revealed(request: ApiRequest, event_id: FromPath[str]) -> RevealedEvent:
        """Reveal the codes of an event.

        The audit log keeps who did it, and the reason. Keys with `reason: required` must give one.
        """
        access, inside = request.auth, in_process(request.scope)
        how: How = "reveal" if inside is None else "console"
        expected = 'write {"reason": "TEXT"}, at most 500 characters'
        body = await request.body()
        given = read_body(body if body.strip() else b"{}", RevealRequest, expected)
        reason = (given.reason or "").strip()
        if access.needs_reason and not reason:
            raise Problem(422, "reason_required", f"reason: missing; {expected}")
        if not is_uuid(event_id):
            raise not_found("event")
        async with calls.begin(request, reread=True) as call:
            opening = access.opening_to_match(Reason.REVEAL)
            kept = await visible_event(journal, access, event_id, opening)
            because = clean_reason(reason, content_of(kept.body)) if reason else None
            fields = secrets_of(kept.body)
            if inside is not None and inside.copies:
                fields = tuple(name for name in fields if name == "code")
            await readers.read(access, how, fields, event=event_id, reason=because)
            if call.made is None:
                await call.keep(MadeId(event_id), 200)
        access.count_read(kept.body, how)
        return RevealedEvent(event=msgspec.Raw(kept.body))

    return revealed
