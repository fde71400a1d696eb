"""Replays of many events: start, show, cancel."""

from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Annotated

import msgspec
from litestar import Response, delete, get, post
from litestar.params import FromPath
from msgspec import Meta

from core.clock import utc
from core.instants import Instant
from journal import Journal
from journal.reads import EventCount, EventFilter, MarksAt, ReplayById
from journal.records import ReplayState, StoredReplay

from ..runtime.identity import Identity
from ..runtime.keys import Access
from ..runtime.redelivery import UnknownSinks
from ..runtime.replays import Replays
from .auth import ApiRequest, needs
from .errors import bad_body, not_found
from .events import unknown_sinks, visible
from .idempotency import Calls
from .operation import Operation
from .paging import PageRequest
from .parameters import EventType, Limit, is_uuid, read_body, read_range
from .router import ApiRouter

_SINKS = "write a list of names, or leave it out"
_TYPES = "write a whole type, such as sms.received, or a list of one or more"
_SOURCES = "write a name, or a list of one or more"
_Source = Annotated[str, Meta(min_length=1, description=_SOURCES)]
_Type = Annotated[str, Meta(description=_TYPES)]
_Sink = Annotated[str, Meta(min_length=1, description=_SINKS)]
#: The state of a dry run.
DRY_RUN = "dry_run"


class ReplayBody(msgspec.Struct, frozen=True, kw_only=True):
    """The events to replay, and the sinks. A missing field means any."""

    #: On `recordedtime`: `since` is included, `until` is not.
    since: Instant | None = None
    until: Instant | None = None
    source: _Source | Annotated[tuple[_Source, ...], Meta(min_length=1)] = ()
    #: Not EventType: msgspec 0.22 crashes when a union of a text and a list has a pattern.
    type: _Type | Annotated[tuple[_Type, ...], Meta(min_length=1)] = ()
    #: Missing: the sinks of each event's first deliveries that are still configured.
    sinks: Annotated[tuple[_Sink, ...], Meta(min_length=1, description=_SINKS)] | None = None
    #: Only count the events.
    dry_run: bool = False


class ShownReplay(msgspec.Struct, frozen=True, kw_only=True):
    """A replay of many events."""

    #: Null for a dry run.
    id: str | None
    #: `running`, `done`, `cancelled`, or `dry_run`.
    state: str
    #: The number of events to replay.
    matched: int
    #: The number of those that are done.
    replayed: int
    #: The number of new deliveries so far.
    created: int
    since: datetime | None
    until: datetime | None
    source: Sequence[str]
    type: Sequence[str]
    sinks: Sequence[str] | None
    created_at: datetime
    ended_at: datetime | None


def replays(
    *,
    replays: Replays,
    journal: Journal,
    calls: Calls,
    identity: Identity,
    now: Callable[[], float],
) -> ApiRouter:
    @post(
        "/",
        guards=[needs("deliveries:write")],
        operation=Operation(
            body=ReplayBody,
            answers={200: ShownReplay, 202: ShownReplay},
            errors=("unknown_sink",),
        ),
    )
    async def start(request: ApiRequest) -> Response[ShownReplay]:
        """Start a replay.

        Each event that matches gets a new delivery to each sink. It answers 202, and the replay
        goes on after a restart. With `dry_run` it answers 200, and only counts the events.
        """
        given = _read(await request.body())
        async with calls.begin(request) as call:
            asked = _asked(given, request.auth, at=now())
            try:
                replays.check(asked.sinks or ())
                asked = await _counted(journal, request.auth, asked)
                if given.dry_run:
                    return Response(_shown(asked), status_code=200)
                asked = msgspec.structs.replace(asked, id=identity.event_id(now()))
                stored = await replays.start(asked, call.guard(_shown, lambda _: 202))
            except UnknownSinks as exc:
                raise unknown_sinks(exc) from None
        return Response(_shown(stored), status_code=202)

    async def find(access: Access, replay_id: str) -> StoredReplay:
        stored = await journal.ask(ReplayById(replay_id)) if is_uuid(replay_id) else None
        # The counts of another key's replay would show how many events are hidden.
        is_own = stored is not None and access.id == stored.key
        if stored is None or not (is_own or access.sees is None):
            raise not_found("replay")
        return stored

    @get("/{replay_id:str}", guards=[needs("events:read")], operation=Operation())
    async def one(request: ApiRequest, replay_id: FromPath[str]) -> ShownReplay:
        """Get a replay."""
        return _shown(await find(request.auth, replay_id))

    @delete("/{replay_id:str}", guards=[needs("deliveries:write")], operation=Operation())
    async def cancel(request: ApiRequest, replay_id: FromPath[str]) -> None:
        """Cancel a replay.

        The deliveries that it made stay.
        """
        await replays.cancel((await find(request.auth, replay_id)).id)

    return ApiRouter("/replays", route_handlers=[start, one, cancel])


def _read(body: bytes) -> ReplayBody:
    fields = ", ".join(ReplayBody.__struct_fields__)
    return read_body(body, ReplayBody, f"a JSON object is expected, with {fields}")


def _asked(given: ReplayBody, access: Access, *, at: float) -> StoredReplay:
    """Return the requested replay, before anything is counted. Raise Problem."""
    since, until = read_range(given.since, given.until, at, bad_body)
    try:
        types = msgspec.convert(_several(given.type), tuple[EventType, ...])
    except msgspec.ValidationError:
        raise bad_body("type", _TYPES) from None
    return StoredReplay(
        id="",
        key=access.id,
        state=ReplayState.RUNNING,
        since=since,
        until=until,
        types=types,
        sources=_several(given.source),
        sinks=None if given.sinks is None else tuple(dict.fromkeys(given.sinks)),
        last=0,
        place=0,
        matched=0,
        replayed=0,
        created=0,
        created_at=at,
        ended_at=None,
    )


def _several(given: str | tuple[str, ...]) -> tuple[str, ...]:
    return (given,) if isinstance(given, str) else tuple(dict.fromkeys(given))


async def _counted(journal: Journal, access: Access, asked: StoredReplay) -> StoredReplay:
    """Return the replay with the number of its events that the key may see."""
    wanted = EventFilter(
        type=asked.types, source=asked.sources, since=asked.since, until=asked.until
    )
    last = (await journal.ask(MarksAt("events", ()))).newest
    place: int | None = 0
    matched = 0
    while place is not None:
        if access.sees is None:
            part = await journal.ask(EventCount(after=place, upto=last, filter=wanted))
            matched, place = matched + part.count, part.next_seq
        else:
            request = PageRequest(limit=Limit.MOST, desc=False, after=place)
            page = await visible(journal, access, wanted, request, None)
            matched += sum(seq <= last for seq, _ in page.items)
            place = page.next_seq if page.has_more and page.next_seq < last else None
    return msgspec.structs.replace(asked, matched=matched, last=last)


def _shown(stored: StoredReplay) -> ShownReplay:
    return ShownReplay(
        id=stored.id or None,
        state=stored.state if stored.id else DRY_RUN,
        matched=stored.matched,
        replayed=stored.replayed,
        created=stored.created,
        since=utc(stored.since),
        until=utc(stored.until),
        source=stored.sources,
        type=stored.types,
        sinks=stored.sinks,
        created_at=utc(stored.created_at),
        ended_at=utc(stored.ended_at),
    )
