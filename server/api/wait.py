"""`GET /v1/events/wait`: the newest event that matches, now or as soon as it comes."""

import asyncio
import contextlib
from collections.abc import Callable
from typing import cast

import msgspec
from litestar import Response, asgi
from litestar.handlers import ASGIRouteHandler
from litestar.types import HTTPScope, Receive, Scope, Send

from journal import Journal
from journal.seal import Reason

from ..runtime.hub import Hub, Inbox, PlacedEvent, ReaderEnded, TooManyReaders
from ..runtime.keys import Access
from ..runtime.readers import Readers
from ..tracing import Tracer
from .auth import needs
from .errors import AGAIN, Problem, bad_parameter, reader_ended
from .events import EventFilters, ListedEvent
from .handlers import REFUSALS, AnyRequest, Refusal, problem_of, request_id
from .operation import Operation
from .paging import Cursors
from .parameters import Text, Wait, read
from .reading import Selection, begin, end_with_client, only_get, write

#: Seconds that a call waits by default.
TIMEOUT = Wait(25)
#: The header with the cursor to go on from.
CURSOR = "Smshook-Cursor"
_CURSOR = CURSOR.lower().encode()
#: Statuses after which a client repeats the call.
_AGAIN = frozenset({429, 503})


class WaitParameters(EventFilters, frozen=True, kw_only=True):
    """The parameters of a wait."""

    #: A cursor. The answer is the first match after it, not the newest one.
    after: Text | None = None
    #: Seconds to wait.
    timeout: Wait = TIMEOUT

    @property
    def is_bounded(self) -> bool:
        """Whether the answer cannot be an old event by mistake."""
        named = self.subject, self.request_id, self.activation_id, self.rental_id, self.reference
        return self.since is not None or self.after is not None or any(named)


def wait(
    *,
    journal: Journal,
    hub: Hub,
    cursors: Cursors,
    readers: Readers,
    tracer: Tracer,
    now: Callable[[], float],
) -> ASGIRouteHandler:
    """Declare the call."""

    def refused(request: AnyRequest, exc: Refusal) -> Response[bytes]:
        """Answer a call that looked at no event: it goes on from its own cursor."""
        problem = problem_of(exc, only_reads=True)
        with contextlib.suppress(Problem):
            after = read(request.scope, WaitParameters).after
            if problem.status in _AGAIN and after is not None and cursors.is_known(after):
                problem.headers = {CURSOR: after, **(problem.headers or {})}
        return problem.response(request_id(request.scope))

    @asgi(
        "/events/wait",
        guards=[needs("events:read")],
        copy_scope=True,
        exception_handlers=dict.fromkeys(REFUSALS, refused),
        operation=Operation(
            query=WaitParameters,
            answers={200: ListedEvent, 204: None},
            answer_headers={CURSOR: "The cursor to go on from, as `after`."},
            errors=("too_many_waits", "reader_ended", "reads_limited"),
        ),
    )
    async def waited(scope: Scope, receive: Receive, send: Send) -> None:  # noqa: ARG001 - Litestar's names
        """Wait for an event.

        The answer is the newest match since `since`, or the first one after `after`: at once if it
        is there, else as soon as it comes. 204: the time is up. One of `since`, `after`, `subject`,
        `request_id`, `activation_id`, `rental_id` and `reference` is required.

        429 and 503 also have `Smshook-Cursor`, unless the call had no `after` and no event was
        looked at: repeat such a call as it was.
        """
        ends, started = asyncio.get_running_loop().time(), now()
        request = cast("HTTPScope", scope)
        only_get(request)
        given = read(request, WaitParameters)
        if not given.is_bounded:
            text = "missing; write since or after, unless you name a subject, an id or a reference"
            raise bad_parameter("since", text)
        ends += given.timeout
        access = cast("Access", request["auth"])
        after = None if given.after is None else await cursors.place(given.after)
        selection = Selection(
            journal=journal,
            hub=hub,
            access=access,
            wanted=given.filter(now()),
            why=Reason.WAIT,
        )
        named, is_since = given.after, given.after is None and given.since is not None
        del given  # the selection has the rest, and parameters take memory
        await hub.begin()
        upto = hub.newest[0] if after is None else after
        recorded = readers.begin_wait(access, selection.wanted, hub.newest[0])
        try:
            with selection.inbox("wait") as inbox:
                inbox.changes_after = after or 0
                try:
                    end_with_client(request, inbox)
                    request.clear()  # type: ignore[attr-defined]  # Litestar's copy, which takes memory
                    event = await _find(selection, inbox, after, ends)
                except ReaderEnded:
                    # Events that wait in its inbox were not looked at.
                    passed = named or await _passed(selection, cursors, upto)
                    raise reader_ended({**AGAIN, CURSOR: passed}) from None
        except TooManyReaders as exc:
            # An event that is there needs no wait.
            event = await selection.first(after, desc=after is None)
            if event is None:
                problem = problem_of(exc, only_reads=True)
                problem.headers = {
                    **AGAIN,
                    CURSOR: named or await _passed(selection, cursors, upto),
                }
                raise problem from None
        if event is None:
            # A compared event may match later, so the cursor passes none that may be wanted.
            cursor = await _passed(
                selection, cursors, upto, until=selection.wanted.since if is_since else None
            )
            await begin(send, 204, [(_CURSOR, cursor.encode())])
            await write(send, b"")
            return
        await readers.end_wait(access, recorded, event.place, event.body)
        tracer.read("wait", access.name, [event.body], began=started, ended=now())
        cursor = cursors.of(event.place, event.id)
        await _answer(send, cursor, event.shown(codes=access.reads(event.body, "wait")))

    return waited


async def _answer(send: Send, cursor: str, shown: bytes) -> None:
    body = msgspec.json.encode(ListedEvent(cursor=cursor, event=msgspec.Raw(shown)))
    head = [
        (b"content-type", b"application/json"),
        (b"content-length", b"%d" % len(body)),
        (_CURSOR, cursor.encode()),
    ]
    await begin(send, 200, head)
    await write(send, body)


async def _find(
    selection: Selection, inbox: Inbox, after: int | None, ends: float
) -> PlacedEvent | None:
    """Return the newest match, or the first one after a place; None: the time is up.

    `ends` is in seconds of the event loop. The journal is searched even if the time is up.
    """
    newest = after is None
    while True:
        inbox.restart()
        found = await selection.first(after, desc=newest)
        events = [] if found is None else [found]
        if newest:
            # One may have come meanwhile.
            events += _taken(inbox, after)
        in_time = True
        while in_time and not (events or inbox.lost):
            in_time = await inbox.wait(ends)
            events = _taken(inbox, after)
        if events and not newest:
            return events[0]
        if not inbox.lost:
            return max(events, key=lambda event: event.place, default=None)


def _taken(inbox: Inbox, after: int | None) -> list[PlacedEvent]:
    events: list[PlacedEvent] = []
    while more := inbox.take():
        events += more
    return [event for event in events if event.place > (after or 0)]


async def _passed(
    selection: Selection, cursors: Cursors, upto: int, *, until: float | None = None
) -> str:
    """Return the cursor of the newest event up to a place; with `until`, before that time.

    The event at that place may have been removed meanwhile, and its own cursor would be refused.
    """
    # For a key with a `when`: a cursor that moves would reveal a hidden event.
    if until is None and selection.access.sees is None:
        [cursor] = await cursors.at([upto])
        return cursor
    event = await selection.every(until=until).first(upto + 1, desc=True)
    return cursors.of(0, "") if event is None else cursors.of(event.place, event.id)
