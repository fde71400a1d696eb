"""Consumers: named readers of events. smshook keeps the place of each."""

import asyncio
from collections.abc import Callable
from datetime import datetime

import msgspec
from litestar import delete, get, post
from litestar.params import FromPath
from litestar.types import HTTPScope

from core.clock import utc
from core.instants import Instant
from journal import Journal
from journal.reads import ConsumerByName, Consumers, EventFilter, Page
from journal.records import StoredConsumer
from journal.seal import Reason
from journal.writes import DropConsumer, MoveConsumer

from ..config.shapes import NAME
from ..runtime.hub import Hub, PlacedEvent
from ..runtime.keys import Access
from ..runtime.readers import Readers
from ..tracing import Tracer
from .auth import ApiRequest, needs
from .errors import Problem, bad_body, bad_parameter, not_found
from .events import EventFilters, ListedEvent
from .idempotency import Calls, MadeId
from .operation import Operation
from .paging import Cursors, PageAnswer, Paging
from .parameters import Limit, Text, Wait, read, read_body
from .reading import Selection, end_with_client
from .router import ApiRouter

#: Consumers of one key.
MOST = 1000


class ConsumerParameters(EventFilters, frozen=True, kw_only=True):
    """The parameters of a read."""

    #: The maximum number of events.
    limit: Limit = Limit(100)
    #: Seconds to wait for an event if there is none.
    wait: Wait = Wait(0)


class Commit(msgspec.Struct, frozen=True, kw_only=True):
    """The place up to which the events are done."""

    #: The cursor of the last event that is done.
    cursor: Text | None = None


class Seek(msgspec.Struct, frozen=True, kw_only=True):
    """The place to go on from: a cursor, or before the first event since a time."""

    #: Go on after this cursor.
    cursor: Text | None = None
    #: Go on with the first event since this time.
    time: Instant | None = None


class ShownConsumer(msgspec.Struct, frozen=True, kw_only=True):
    """A consumer and its place."""

    name: str
    #: The place up to which its events are done.
    cursor: str
    #: The number of events after its place. Null for a key with a `when`.
    behind: int | None
    created_at: datetime
    #: When its place was last set.
    moved_at: datetime


class _ConsumerPlaces:
    """Shows consumers and moves them."""

    def __init__(
        self,
        journal: Journal,
        hub: Hub,
        cursors: Cursors,
        calls: Calls,
        now: Callable[[], float],
    ) -> None:
        self._journal, self._hub, self._cursors, self._now = journal, hub, cursors, now
        self._calls = calls

    def selection(self, access: Access, wanted: EventFilter) -> Selection:
        return Selection(
            journal=self._journal,
            hub=self._hub,
            access=access,
            wanted=wanted,
            why=Reason.CONSUMER,
        )

    async def shown(self, access: Access, kept: StoredConsumer) -> ShownConsumer:
        await self._hub.begin()
        [cursor] = await self._cursors.at([kept.place])
        [behind] = await self._hub.behind([kept.place])
        return ShownConsumer(
            name=kept.name,
            cursor=cursor,
            behind=None if access.sees is not None else behind,
            created_at=utc(kept.created_at),
            moved_at=utc(kept.moved_at),
        )

    async def sought(self, access: Access, body: Seek) -> int:
        """Return the place of a Seek. Raise Problem for a bad cursor."""
        expected = 'write {"cursor": "CURSOR"} or {"time": "2026-09-14T18:42:36Z"}'
        if body.cursor is not None and body.time is None:
            return await self._cursors.place(body.cursor, "cursor")
        if body.cursor is not None or body.time is None:
            raise bad_body("cursor", f"give either cursor or time: {expected}")
        selection = self.selection(access, EventFilter())
        return await _place_before(selection, body.time.at(self._now()))

    async def move(
        self, request: ApiRequest, name: str, place: int, *, back: bool = False
    ) -> ShownConsumer:
        access = request.auth
        async with self._calls.begin(request, reread=True) as call:
            if call.made is not None:
                moved = await self._journal.ask(ConsumerByName(access.name, _checked(name)))
                if moved is None:
                    raise not_found("consumer")
                return await self.shown(access, moved)
            write = MoveConsumer(
                access.name, _checked(name), place, self._now(), back=back, most=MOST
            )
            guard = call.guard(lambda moved: moved and MadeId(moved.name))
            moved = await self._journal.submit(guard(write))
        if moved is None:
            text = f"the key has {MOST} consumers, the most that it may have; delete one"
            raise Problem(409, "too_many_consumers", text)
        return await self.shown(access, moved)


def consumers(
    *,
    journal: Journal,
    hub: Hub,
    cursors: Cursors,
    list_cursors: Cursors,
    calls: Calls,
    readers: Readers,
    tracer: Tracer,
    now: Callable[[], float],
) -> ApiRouter:
    """Return the calls. `cursors` are those of events, `list_cursors` those of the list."""
    places = _ConsumerPlaces(journal, hub, cursors, calls, now)

    @get("/", operation=Operation(query=Paging))
    async def listed(request: ApiRequest) -> PageAnswer[ShownConsumer]:
        """List consumers.

        A consumer belongs to the key that made it.
        """
        given = read(request.scope, Paging)
        kept = await journal.ask(Consumers(request.auth.name))
        named = {one.name: one for one in kept}
        asked = await list_cursors.asked(given, names=tuple(named))
        page = list_cursors.sliced(asked, named)
        return PageAnswer(
            data=[await places.shown(request.auth, one) for one in page.data],
            next_cursor=page.next_cursor,
            has_more=page.has_more,
        )

    @get(
        "/{name:str}/events",
        operation=Operation(
            query=ConsumerParameters, errors=("too_many_waits", "reader_ended", "reads_limited")
        ),
    )
    async def events(request: ApiRequest, name: FromPath[str]) -> PageAnswer[ListedEvent]:
        """Read events of a consumer.

        They are those after its place. A new consumer begins at the oldest event. `wait` waits for
        an event if there is none.
        """
        given, began = read(request.scope, ConsumerParameters), now()
        access = request.auth
        kept = await journal.ask(ConsumerByName(access.name, _checked(name)))
        selection = places.selection(access, given.filter(now()))
        page = await _read(selection, 0 if kept is None else kept.place, given, request.scope)
        [next_cursor] = await cursors.at([page.next_seq])
        bodies = [(place, event.body) for place, event in page.items]
        await readers.read_page(access, "consumer", bodies)
        tracer.read("consumer", access.name, (b for _, b in bodies), began=began, ended=now())
        return PageAnswer(
            data=[
                ListedEvent(
                    cursor=cursors.of(place, event.id),
                    event=msgspec.Raw(event.shown(codes=access.reads(event.body, "consumer"))),
                )
                for place, event in page.items
            ],
            next_cursor=next_cursor,
            has_more=page.has_more,
        )

    @post(
        "/{name:str}/commit",
        status_code=200,
        operation=Operation(body=Commit, required=("cursor",), errors=("too_many_consumers",)),
    )
    async def commit(request: ApiRequest, name: FromPath[str]) -> ShownConsumer:
        """Commit a cursor of a consumer.

        The events up to the cursor are done.
        """
        body = read_body(await request.body(), Commit, 'write {"cursor": "CURSOR"}')
        if body.cursor is None:
            raise bad_body("cursor", "missing; write the cursor of the last event that is done")
        place = await cursors.place(body.cursor, "cursor")
        return await places.move(request, name, place)

    @post(
        "/{name:str}/seek",
        status_code=200,
        operation=Operation(body=Seek, errors=("too_many_consumers",)),
    )
    async def seek(request: ApiRequest, name: FromPath[str]) -> ShownConsumer:
        """Move a consumer.

        The body has either `cursor` or `time`.
        """
        body = read_body(await request.body(), Seek, 'write {"cursor": "CURSOR"}, or a time')
        place = await places.sought(request.auth, body)
        return await places.move(request, name, place, back=True)

    @delete("/{name:str}", operation=Operation())
    async def drop(request: ApiRequest, name: FromPath[str]) -> None:
        """Delete a consumer."""
        if not await journal.submit(DropConsumer(request.auth.name, name)):
            raise not_found("consumer")

    return ApiRouter(
        "/consumers",
        route_handlers=[listed, events, commit, seek, drop],
        guards=[needs("events:read")],
    )


async def _read(
    selection: Selection, place: int, given: ConsumerParameters, scope: HTTPScope
) -> Page[PlacedEvent]:
    """Return the events after a place; wait for the first one if there is none."""
    page = await selection.page(place, limit=given.limit)
    if page.items or page.has_more or not given.wait:
        return page
    ends = asyncio.get_running_loop().time() + given.wait
    await selection.hub.begin()
    with selection.inbox("wait") as inbox:
        end_with_client(scope, inbox)
        in_time = True
        while in_time and not (page.items or page.has_more):
            inbox.restart()
            page = await selection.page(page.next_seq, limit=given.limit)
            if not (page.items or page.has_more):
                in_time = await inbox.wait(ends)
    return page


async def _place_before(selection: Selection, at: float) -> int:
    """Return the place of the last event that the key sees before the first one since a time.

    The place of another event would reveal that there are hidden ones.
    """
    first = await selection.every(since=at).first(None)
    last = await selection.every().first(None if first is None else first.place, desc=True)
    return 0 if last is None else last.place


def _checked(name: str) -> str:
    if not NAME.fullmatch(name):
        text = "write at most 63 of a-z, 0-9, _ and -, with a letter or digit at the beginning"
        raise bad_parameter("name", text)
    return name
