"""Previews a replay: the request that a sink would get, and nothing is sent."""

from collections.abc import Mapping

import msgspec
from litestar import get
from litestar.handlers import HTTPRouteHandler
from litestar.params import FromPath

from journal import Journal
from journal.seal import Reason
from sinks.redact import mask_codes
from sinks.worker import Worker

from ..runtime.current import Current
from ..runtime.redelivery import UnknownSinks
from .auth import ApiRequest, missing, needs
from .errors import bad_parameter, not_found
from .events import unknown_sinks, visible_event
from .operation import Operation
from .parameters import Text, is_uuid, read


class PreviewParameters(msgspec.Struct, frozen=True, kw_only=True):
    """The sink of a preview."""

    #: The name of a configured sink. It is required.
    sink: Text | None = None


class Preview(msgspec.Struct, frozen=True, kw_only=True):
    """The request that a sink would get now."""

    sink: str
    #: Text, code, links and the sink's own secrets are masked.
    request: str


def preview(
    *, journal: Journal, current: Current, workers: Mapping[str, Worker]
) -> HTTPRouteHandler:
    """Declare the call."""

    @get(
        "/events/{event_id:str}/preview",
        guards=[needs("deliveries:write")],
        operation=Operation(query=PreviewParameters, errors=("unknown_sink",)),
    )
    async def previewed(request: ApiRequest, event_id: FromPath[str]) -> Preview:
        """Preview a replay.

        The answer has the request that the sink would get. Nothing is sent. It also needs
        `events:read`.
        """
        sink, access = read(request.scope, PreviewParameters).sink, request.auth
        if not access.may("events:read"):
            raise missing("events:read")
        if not is_uuid(event_id):
            raise not_found("event")
        if sink is None:
            raise bad_parameter("sink", "missing; write the name of a configured sink")
        opening = access.opening_to_match(Reason.FILTER)
        kept = await visible_event(journal, access, event_id, opening)
        if sink not in current.config.sinks:
            raise unknown_sinks(UnknownSinks([sink]))
        masked = mask_codes(kept.body)
        return Preview(sink=sink, request=workers[sink].preview(event_id, masked))

    return previewed
