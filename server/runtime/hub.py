"""New events for the readers that wait for them: streams, waits and consumers.

A reader has a place: it was given each matching event up to there. A `Follower` moves it on.

1. Its inbox starts over: it takes each matching event that is announced from now on.
2. A page of the journal is read after its place. An event is committed before it is announced, and
   the journal answers from committed data.
3. After the last page, each further matching event is in that page or will be in the inbox.
   An event that is in both is left out by its place. The reader is live.
4. If the inbox gets more than it may hold, it drops all. The reader continues with step 1.

So a reader misses and repeats nothing, and holds few events, however slowly it reads.

A stored event can begin to match: an order gives it a reference, or a copy gives it a code. Then a
wait reads the journal again. Streams and consumers follow the places, so they do not get it again.
"""

import asyncio
import contextlib
import math
import sys
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from types import TracebackType
from typing import Any, Literal, Self

import msgspec

from core.event import has_code, secrets_of
from httpd.timers import call_at
from journal import Journal
from journal.feed import Committed
from journal.reads import MarksAt, Page
from routes.index import FilterIndex, IndexEntry
from routes.match import Part
from sinks.redact import mask_codes

#: The most places that an inbox holds.
MOST_PLACES = 1_000
#: The most new events that the hub keeps for its inboxes, and the bytes that they may take.
MOST_EVENTS, MOST_BYTES = 2_000, 16 << 20
#: The most events that a reader takes at once.
AT_ONCE = 50
#: Seconds by which a reader may wait too long.
_TICK = 0.05

Kind = Literal["stream", "wait"]

#: Bytes of an event beside the encodings of its body: objects, and the cursors of its frames.
_MORE = 1_200
#: A place after all events.
_END = (1 << 63) - 1


class ReaderEnded(Exception):
    """The reader must end: its client is gone, its key is revoked, or the service stops."""


class TooManyReaders(Exception):
    """There are too many readers of a kind."""

    def __init__(self, kind: Kind, most: int, *, own: bool) -> None:
        """`own`: the key has too many, else all keys together."""
        super().__init__(kind)
        self.kind, self.most, self.own = kind, most, own


class _Named(msgspec.Struct, frozen=True):
    id: str = ""
    type: str = ""


_decode = msgspec.json.Decoder(_Named).decode


class PlacedEvent:
    """An event and its place. Readers share its encodings; each is made once."""

    __slots__ = ("_masked", "_secrets", "body", "frames", "has_code", "id", "place", "type")

    def __init__(self, place: int, body: bytes) -> None:
        named = _decode(body)
        self.place, self.body, self.id, self.type = place, body, named.id, named.type
        self.has_code = has_code(body)
        #: The event on the wire of a stream, by whether codes are shown. Streams make it.
        self.frames: dict[bool, bytes] = {}
        self._masked: bytes | None = None
        self._secrets: tuple[str, ...] | None = None

    @property
    def secrets(self) -> tuple[str, ...]:
        """The names of its fields that only `codes:read` may see."""
        if self._secrets is None:
            self._secrets = secrets_of(self.body)
        return self._secrets

    @property
    def size(self) -> int:
        """The most bytes that it takes: masked and not, and a frame of each."""
        return 4 * len(self.body) + _MORE

    def shown(self, *, codes: bool) -> bytes:
        """Return the event byte for byte as stored, or with its codes masked."""
        if codes:
            return self.body
        if self._masked is None:
            self._masked = mask_codes(self.body)
        return self._masked


class Inbox:
    """The new events of one reader, in order. Use it in `with`."""

    __slots__ = (
        *("_entry", "_filter", "_hub", "_is_late", "_places", "_waiting"),
        *("changes_after", "ended", "kind", "lost", "name", "owner"),
    )

    def __init__(self, hub: "Hub", kind: Kind, owner: object, name: str, filter_: Part) -> None:
        """`owner` has the rights of its key, `name` is the key's name."""
        self._hub, self._filter = hub, filter_
        self.kind, self.owner, self.name = kind, owner, name
        self._entry: IndexEntry[Inbox] | None = None
        self._places: list[int] = []
        self._waiting: asyncio.Future[None] | None = None
        #: Changes of stored events after this place matter to it; None: no change does.
        self.changes_after: int | None = None
        #: The first place to read again from the journal: it dropped that event, because there were
        #: too many, or the event changed. 0: there is no such place.
        self.lost = 0
        self.ended = self._is_late = False

    def __enter__(self) -> Self:
        self._hub.add(self)
        return self

    def __exit__(
        self,
        _type: type[BaseException] | None,
        _exc: BaseException | None,
        _traceback: TracebackType | None,
    ) -> None:
        self._stop()
        self._hub.remove(self)

    def restart(self) -> None:
        """Drop its places, and take each event that is announced from now on."""
        self._places, self.lost = [], 0
        if self._entry is None and not self.ended:
            self._entry = self._hub.filters.add(self._filter, self)

    def put(self, place: int) -> None:
        """Add the place of a new event, which the hub keeps."""
        if len(self._places) < MOST_PLACES:
            self._places.append(place)
        else:
            self._drop()
        self._wake()

    def offer_change(self, place: int) -> None:
        """Read the journal again, because a stored event matches now, unless it does not matter."""
        if self.changes_after is not None and self.changes_after < place:
            self._stop()
            self.lost, self._places = place, []
            self._wake()

    def take(self) -> Sequence[PlacedEvent]:
        """Remove and return its next events: at most AT_ONCE; empty if it lost some."""
        if self.lost:
            return []
        found = [self._hub.recent.get(place) for place in self._places[:AT_ONCE]]
        events = [event for event in found if event is not None]
        if len(events) < len(found):
            self._drop()
            return []
        self._places = self._places[AT_ONCE:]
        return events

    async def wait(self, until: float | None = None) -> bool:
        """Wait until there are new events, or until some were lost. Raises ReaderEnded.

        Return False if the time `until`, in seconds of the event loop, comes first.
        """
        loop = asyncio.get_running_loop()
        self._is_late = until is not None and until <= loop.time()
        # Not asyncio.timeout: it takes more memory, and may cancel when there are events.
        tick = self._hub.deadlines.add(self, until)
        try:
            while not (self._places or self.lost or self.ended or self._is_late):
                self._waiting = loop.create_future()
                await self._waiting
        finally:
            self._waiting = None
            self._hub.deadlines.remove(self, tick)
        if self.ended:
            raise ReaderEnded
        return bool(self._places or self.lost)

    def be_late(self) -> None:
        """End a `wait` without an event."""
        self._is_late = True
        self._wake()

    def end(self) -> None:
        """Make the reader end."""
        self._stop()
        self.ended = True
        self._wake()

    def _drop(self) -> None:
        self._stop()
        self.lost, self._places = self._places[0], []

    def _stop(self) -> None:
        if self._entry is not None:
            self._hub.filters.remove(self._entry)
            self._entry = None

    def _wake(self) -> None:
        if self._waiting is not None and not self._waiting.done():
            self._waiting.set_result(None)


class _Deadlines:
    """Ends the waits of inboxes in time, with one timer. One for each takes half a kilobyte."""

    def __init__(self) -> None:
        #: By time, in ticks of the event loop's clock.
        self._inboxes: dict[int, set[Inbox]] = {}
        self._timer: asyncio.TimerHandle | None = None

    def add(self, inbox: Inbox, until: float | None) -> int | None:
        """Make the inbox late at that time; return its tick. None: never."""
        if until is None:
            return None
        tick = math.ceil(until / _TICK)
        self._inboxes.setdefault(tick, set()).add(inbox)
        if self._timer is None or tick * _TICK < self._timer.when():
            self._set_timer(tick)
        return tick

    def remove(self, inbox: Inbox, tick: int | None) -> None:
        if tick is not None and tick in self._inboxes:
            self._inboxes[tick].discard(inbox)

    def _set_timer(self, tick: int) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer = call_at(asyncio.get_running_loop(), tick * _TICK, self._on_timer)

    def _on_timer(self) -> None:
        self._timer = None
        now = asyncio.get_running_loop().time()
        for tick in [tick for tick in self._inboxes if tick * _TICK <= now]:
            for inbox in self._inboxes.pop(tick):
                inbox.be_late()
        if self._inboxes:
            self._set_timer(min(self._inboxes))


class Follower:
    """Gives a reader all matching events after a place, each once and in order."""

    def __init__(
        self,
        inbox: Inbox,
        read: Callable[[int], Awaitable[Page[PlacedEvent]]],
        after: int | None,
    ) -> None:
        """`read` returns the page after a place; `after` None: new events only."""
        self._inbox, self._read = inbox, read
        self._after = after or 0
        self._is_live = after is None
        inbox.restart()

    async def next(self, until: float | None = None) -> Sequence[PlacedEvent]:
        """Wait for the next events. Raises ReaderEnded, and the errors of `read`.

        Return an empty list if the time `until`, in seconds of the event loop, comes first. A
        cancelled call loses nothing: the next one continues.
        """
        inbox = self._inbox
        while not inbox.ended:
            if not self._is_live:
                inbox.restart()
                page = await self._read(self._after)
                self._after, self._is_live = page.next_seq, not page.has_more
                if page.items:
                    # With `until`, a page may end before events that it has.
                    self._after = max(self._after, page.items[-1][0])
                    return [event for _, event in page.items]
                continue
            if not await inbox.wait(until):
                return []
            events = [event for event in inbox.take() if event.place > self._after]
            if inbox.lost:
                # Each event before that place was returned, so read the journal from there.
                self._after = max(self._after, inbox.lost - 1)
                self._is_live = False
            elif events:
                return events
        raise ReaderEnded


class Hub:
    """Listens to the commits of a journal, and gives new events to its inboxes."""

    def __init__(
        self, journal: Journal, *, in_force: Callable[[Any], bool] = lambda _: True
    ) -> None:
        """Call `limit` before the first reader subscribes.

        `in_force` returns whether the owner of an inbox, a key, was neither revoked nor expired.
        """
        self._journal, self._in_force = journal, in_force
        self._most: Mapping[Kind, int] = {}
        #: The limit of readers of all kinds. Each has a connection, which callbacks need, too.
        self.most_readers = sys.maxsize
        self._counts: Counter[tuple[Kind, str | None]] = Counter()
        self._inboxes: set[Inbox] = set()
        self.filters: FilterIndex[Inbox] = FilterIndex()
        self.deadlines = _Deadlines()
        #: New events that inboxes took, by place, the oldest first.
        self.recent: dict[int, PlacedEvent] = {}
        self._bytes = 0
        #: Place and body.
        self._newest = (0, b"{}")
        self._listening = contextlib.ExitStack()
        self._beginning = asyncio.Lock()
        self._has_begun = self._closed = False

    @property
    def streams(self) -> int:
        """The number of open streams."""
        return self._counts["stream", None]

    @property
    def waits(self) -> int:
        """The number of calls that wait for an event."""
        return self._counts["wait", None]

    @property
    def newest(self) -> tuple[int, str]:
        """Place and id of the newest announced event; place 0 if there is no event."""
        place, body = self._newest
        return place, _decode(body).id

    async def begin(self) -> None:
        """Begin to listen, before the first reader subscribes. Raises Unavailable."""
        async with self._beginning:
            if self._has_begun:
                return
            self._listening.close()
            self._listening.enter_context(self._journal.listen(self._announce))
            marks = await self._journal.ask(MarksAt("events", (_END,)))
            place, id_ = marks.beside.get(_END, (0, ""))
            if place > self._newest[0]:
                self._newest = (place, msgspec.json.encode({"id": id_}))
            self._has_begun = True

    def limit(self, *, streams: int, waits: int) -> None:
        """Limit the readers of each kind; a key may have half of them. Open readers stay."""
        self._most = {"stream": streams, "wait": waits}

    async def behind(self, places: Iterable[int]) -> list[int]:
        """Return how many events may follow each place. Removed ones do not count.

        Raises Unavailable.
        """
        marks = await self._journal.ask(MarksAt("events", (1,), desc=True))
        oldest, _ = marks.beside.get(1, (_END, ""))
        return [max(0, self._newest[0] - max(place, oldest - 1)) for place in places]

    def add(self, inbox: Inbox) -> None:
        """Count a reader. Raises TooManyReaders, and ReaderEnded once the service stops."""
        kind, name = inbox.kind, inbox.name
        most = self._most[kind]
        # The key may have been revoked since the request was let in.
        if self._closed or not self._in_force(inbox.owner):
            raise ReaderEnded
        if self._counts[kind, name] >= max(1, most // 2):
            raise TooManyReaders(kind, max(1, most // 2), own=True)
        if self._counts[kind, None] >= most or len(self._inboxes) >= self.most_readers:
            raise TooManyReaders(kind, min(most, self.most_readers), own=False)
        self._counts[kind, None] += 1
        self._counts[kind, name] += 1
        self._inboxes.add(inbox)

    def remove(self, inbox: Inbox) -> None:
        """Forget a reader that `add` counted."""
        kind, name = inbox.kind, inbox.name
        self._counts[kind, None] -= 1
        self._counts[kind, name] -= 1
        if not self._counts[kind, name]:
            del self._counts[kind, name]
        self._inboxes.discard(inbox)
        if not self._inboxes:
            self.recent.clear()
            self._bytes = 0

    def end_readers(self, owner: object) -> None:
        """End all readers of a key that was revoked or has expired."""
        for inbox in tuple(self._inboxes):
            if inbox.owner is owner:
                inbox.end()

    def forget(self, places: Sequence[int]) -> None:
        """Forget events that were erased. Their readers read the journal again."""
        for place in places:
            event = self.recent.pop(place, None)
            if event is not None:
                self._bytes -= event.size
        if self._newest[0] in places:
            place, id_ = self.newest
            self._newest = (place, msgspec.json.encode({"id": id_}))

    def close(self) -> None:
        """End all readers, and refuse new ones."""
        self._closed = True
        self._listening.close()
        for inbox in tuple(self._inboxes):
            inbox.end()

    def _announce(self, committed: Committed) -> None:
        for place, body in committed.changed if self.waits else ():
            for inbox in self.filters.matching(msgspec.json.decode(body)):
                inbox.offer_change(place)
        if not committed.events:
            return
        for place, body in committed.events if self._inboxes else ():
            takers = self.filters.matching(msgspec.json.decode(body))
            if takers:
                self._keep(PlacedEvent(place, body))
            for inbox in takers:
                inbox.put(place)
        self._newest = max(self._newest, committed.events[-1])

    def _keep(self, event: PlacedEvent) -> None:
        self.recent[event.place] = event
        self._bytes += event.size
        while len(self.recent) > MOST_EVENTS or self._bytes > MOST_BYTES:
            oldest = self.recent.pop(next(iter(self.recent)))
            self._bytes -= oldest.size
