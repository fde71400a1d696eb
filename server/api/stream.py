"""`GET /v1/events/stream`: events as server-sent events, as soon as they are accepted.

The format is that of the HTML standard, 9.2.6 (html.spec.whatwg.org/#event-stream-interpretation).
"""

import asyncio
import contextlib
from collections.abc import Callable
from typing import cast

from litestar import asgi
from litestar.handlers import ASGIRouteHandler
from litestar.types import HTTPScope, Receive, Scope, Send

from core.errors import Unavailable
from core.json_lines import on_one_line
from journal import Journal
from journal.seal import Reason

from ..runtime.hub import AT_ONCE, Follower, Hub, PlacedEvent, ReaderEnded
from ..runtime.keys import Access
from ..runtime.readers import Readers, ReadsLimited
from .auth import needs
from .events import EventFilters
from .operation import Operation
from .paging import Cursors
from .parameters import Text, read
from .reading import Selection, begin, end_with_client, only_get, write

#: Seconds without an event after which a comment shows that the stream is alive.
HEARTBEAT = 15.0
#: Seconds between two writes of a stream that keeps up. Under load, one write has the events of
#: several commits, because a write costs as much as ten events.
GATHER = 0.02
#: The place before the oldest event, in place of a cursor.
START = "start"

_COMMENT = b":\n\n"
_HEADERS = (
    (b"content-type", b"text/event-stream; charset=utf-8"),
    # Without it, nginx holds events back until its buffer is full.
    (b"x-accel-buffering", b"no"),
)


class StreamParameters(EventFilters, frozen=True, kw_only=True):
    """The parameters of a stream."""

    #: A cursor, or `start`. The header `Last-Event-ID` takes precedence.
    after: Text | None = None


def stream(
    *, journal: Journal, hub: Hub, cursors: Cursors, readers: Readers, now: Callable[[], float]
) -> ASGIRouteHandler:
    """Declare the call."""

    @asgi(
        "/events/stream",
        guards=[needs("events:read")],
        copy_scope=True,
        operation=Operation(
            query=StreamParameters,
            headers={"Last-Event-ID": "The cursor of the last event; it overrides `after`."},
            answers={200: str},
            media_type="text/event-stream",
            errors=("too_many_streams", "reader_ended", "reads_limited"),
        ),
    )
    async def streamed(scope: Scope, receive: Receive, send: Send) -> None:  # noqa: ARG001 - Litestar's names
        """Stream events.

        The answer is a stream of server-sent events: `id` is the cursor, `event` the type, and
        `data` the event on one line, as the schema `Event` says. A comment comes every 15 seconds.

        `after=start` begins at the oldest event. Without `after` and `Last-Event-ID`, the stream
        begins now.
        """
        request = cast("HTTPScope", scope)
        only_get(request)
        given = read(request, StreamParameters)
        access = cast("Access", request["auth"])
        after = await _place(request, given, cursors)
        selection = Selection(
            journal=journal,
            hub=hub,
            access=access,
            wanted=given.filter(now()),
            why=Reason.STREAM,
        )

        codes = access.may("codes:read")

        def frame(event: PlacedEvent) -> bytes:
            made = event.frames.get(codes)
            if made is None:
                cursor = cursors.of(event.place, event.id)
                made = encode(cursor, event.type, event.shown(codes=codes))
                event.frames[codes] = made
            return made

        loop = asyncio.get_running_loop()
        await hub.begin()
        with selection.inbox("stream") as inbox:
            follower = Follower(inbox, lambda place: selection.page(place, limit=AT_ONCE), after)
            begins = hub.newest[0] if after is None else after
            async with readers.stream(access, selection.wanted, begins) as record:
                await begin(send, 200, _HEADERS)
                await write(send, _COMMENT, more=True)
                end_with_client(request, inbox)
                # The client resumes with the last cursor that it got.
                with contextlib.suppress(ReaderEnded, ReadsLimited, Unavailable):
                    while True:
                        events = await follower.next(loop.time() + HEARTBEAT)
                        record.add(events)
                        if codes:
                            access.count_codes(sum([one.has_code for one in events]), "stream")
                        part = b"".join([frame(event) for event in events])
                        await write(send, part or _COMMENT, more=True)
                        if len(events) < AT_ONCE:
                            await asyncio.sleep(GATHER)
                await write(send, b"")

    return streamed


async def _place(request: HTTPScope, given: StreamParameters, cursors: Cursors) -> int | None:
    """Return the place to begin after; None: at the next event. Raise Problem for a bad cursor."""
    last = dict(request["headers"]).get(b"last-event-id", b"").decode("latin-1")
    name, cursor = ("Last-Event-ID", last) if last else ("after", given.after)
    if cursor is None:
        return None
    return 0 if cursor == START else await cursors.place(cursor, name)


def encode(cursor: str, type_: str, body: bytes) -> bytes:
    """Return an event in the format of a stream."""
    return b"id: %b\nevent: %b\ndata: %b\n\n" % (
        cursor.encode(),
        type_.encode(),
        on_one_line(body),
    )
