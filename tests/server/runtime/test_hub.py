"""The hub gives each reader every matching event once and in order, whatever comes when."""

import asyncio
import contextlib
import gc
import sys

import hypothesis
import msgspec
import pytest
import uvloop
from examples import examples
from hypothesis import strategies as st

from journal.feed import Committed
from journal.reads import EventFilter, Marks, Page
from routes.match import compile_filter
from server.api.stream import encode
from server.runtime import hub as module
from server.runtime.hub import Follower, Hub, Inbox, PlacedEvent, ReaderEnded, TooManyReaders
from server.runtime.live_filter import live_filter

EVERY = compile_filter({}, "t")
WANTED = compile_filter({"type": "sms.received"}, "t")


def event(place, *, wanted=True):
    kind = b"sms.received" if wanted else b"rental.billed"
    return place, b'{"id":"%d","type":"%b"}' % (place, kind)


class MemoryJournal:
    """Events that are committed, and announced later. Reads are answered when the test says so."""

    def __init__(self):
        self.committed, self.announced = [], 0
        self.listeners = []
        self.reads = []

    @contextlib.contextmanager
    def listen(self, callback):
        self.listeners.append(callback)
        yield
        self.listeners.remove(callback)

    async def ask(self, read):
        [place] = read.places
        newest = len(self.committed)
        return Marks(beside={place: (newest, str(newest))} if newest else {}, newest=newest)

    def commit(self, *wanted):
        for one in wanted:
            self.committed.append(event(len(self.committed) + 1, wanted=one))

    def announce(self):
        news = self.committed[self.announced :]
        self.announced = len(self.committed)
        for listener in tuple(self.listeners):
            listener(Committed(events=news))

    def change(self, place):
        """Announce that a stored event matches now."""
        for listener in tuple(self.listeners):
            listener(Committed(changed=[event(place)]))

    async def read(self, after, limit=2):
        """Wait until the test answers, then answer from what is committed by then."""
        answer = asyncio.get_running_loop().create_future()
        self.reads.append(answer)
        await answer
        found = [(place, body) for place, body in self.committed if place > after]
        matching = [(place, body) for place, body in found if b"sms" in body]
        items = tuple((place, PlacedEvent(place, body)) for place, body in matching[:limit])
        more = len(matching) > limit
        end = items[-1][0] if more else max(after, len(self.committed))
        page = Page(items=items, next_seq=end, has_more=more)
        # The answer travels from the reading thread to the loop.
        later = asyncio.get_running_loop().create_future()
        self.reads.append(later)
        await later
        return page

    def answer(self):
        if self.reads:
            read = self.reads.pop(0)
            if not read.done():
                read.set_result(None)


def hub_of(journal, streams=100, waits=100, **more):
    hub = Hub(journal, **more)
    hub.limit(streams=streams, waits=waits)
    return hub


def inbox(hub, kind="stream", *, owner=None, name="key", filter_=WANTED):
    return Inbox(hub, kind, owner, name, filter_)


async def turns(count=6):
    for _ in range(count):
        await asyncio.sleep(0)


STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("commit"), st.lists(st.booleans(), min_size=1, max_size=4)),
        st.sampled_from([("announce",), ("answer",), ("cancel",), ("read",)]),
    ),
    max_size=60,
)


#: The place to begin after; None: new events only.
AFTER = st.none() | st.integers(0, 4)


@hypothesis.settings(max_examples=examples(400))
@hypothesis.given(steps=STEPS, before=st.lists(st.booleans(), max_size=4), after=AFTER)
def test_reader_sees_each_event_once_and_in_order(steps, before, after):
    """Mutants: it goes live before it has caught up; lost places are forgotten; the place does not
    move with live events; a cancelled read moves it."""
    with pytest.MonkeyPatch.context() as patch:
        # Small, so that it overflows.
        patch.setattr(module, "MOST_PLACES", 3)
        patch.setattr(module, "MOST_EVENTS", 4)
        patch.setattr(module, "AT_ONCE", 2)
        asyncio.run(follow(steps, before, after if after is None else min(after, len(before))))


class Reading:
    """A reader, and the steps of its world."""

    def __init__(self, journal, follower):
        self.journal, self.follower = journal, follower
        self.seen, self.running = [], None

    async def commit(self, wanted):
        self.journal.commit(*wanted)

    async def announce(self):
        self.journal.announce()

    async def answer(self):
        self.journal.answer()

    async def cancel(self):
        if self.running is not None and not self.running.done():
            self.running.cancel()
            await asyncio.wait([self.running])
            self.running = None

    async def read(self):
        if self.running is not None and self.running.done():
            self.seen += [one.place for one in self.running.result()]
            self.running = None
        if self.running is None:
            self.running = asyncio.create_task(self.follower.next())

    async def finish(self):
        """Announce and answer everything, until the reader waits for a new event."""
        self.journal.announce()
        for _ in range(400):
            await self.answer()
            await self.read()
            await turns(4)
            if not self.running.done() and not self.journal.reads:
                break
        await self.cancel()


async def follow(steps, before, after):
    journal = MemoryJournal()
    journal.commit(*before)
    hub = hub_of(journal)
    await hub.begin()
    journal.announce()
    with inbox(hub) as its, inbox(hub, filter_=EVERY) as other:
        other.restart()  # it takes nothing, so that the hub must let go
        reading = Reading(journal, Follower(its, journal.read, after))
        for name, *arguments in steps:
            await getattr(reading, name)(*arguments)
            await turns(2)
        await reading.finish()
    assert reading.seen == [
        place
        for place, body in journal.committed
        if place > (len(before) if after is None else after) and b"sms" in body
    ]
    assert (hub.recent, hub.streams) == ({}, 0)


async def test_page_that_ends_before_its_events_repeats_none():
    """A list with `until` may read events twice. Mutant: the reader goes on from its cursor."""
    journal = MemoryJournal()
    hub = hub_of(journal)
    await hub.begin()

    async def read(_after):
        journal.commit(True)
        journal.announce()
        return Page(items=((1, PlacedEvent(*event(1))),), next_seq=0, has_more=False)

    with inbox(hub) as its:
        follower = Follower(its, read, 0)
        first = await follower.next()
        journal.commit(True)
        journal.announce()
        second = await follower.next()

    assert [[one.place for one in events] for events in (first, second)] == [[1], [2]]


@pytest.mark.parametrize("in_page", [False, True])
async def test_event_that_comes_during_a_read_is_given_once(in_page):
    """Random steps seldom reach this: it is in the inbox, and may be in the page, too.

    Mutants: the inbox starts over after the read; the event of its place is given again (`>=`).
    """
    journal = MemoryJournal()
    hub = hub_of(journal)
    await hub.begin()
    with inbox(hub) as its:
        reading = Reading(journal, Follower(its, journal.read, 0))
        await reading.read()
        await turns()
        if not in_page:
            await reading.answer()  # the journal reads the page, and its answer is on its way
            await turns()
        await reading.commit([True])
        await reading.announce()
        await reading.finish()

    assert reading.seen == [1]


async def test_slow_reader_holds_few_events():
    """Mutants: the places are not limited; the hub keeps every event for it."""
    journal = MemoryJournal()
    hub = hub_of(journal)
    await hub.begin()
    with inbox(hub) as slow, inbox(hub) as fast:
        Follower(slow, journal.read, None)
        follower = Follower(fast, journal.read, None)
        for _ in range(5):
            journal.commit(*[True] * 1_000)
            journal.announce()
            for _ in range(1_000 // module.AT_ONCE):
                await follower.next()

        assert len(slow._places) <= module.MOST_PLACES
        assert slow.lost == 1
        assert len(hub.recent) <= module.MOST_EVENTS
    assert hub.recent == {}


async def test_readers_with_one_timer_end_each_in_its_own_time():
    """A timer for each would take half a kilobyte.

    Mutants: an earlier reader gets no earlier timer; the timer is not set again; a reader ends up
    to a tick too early; a reader that left stays.
    """
    hub = hub_of(MemoryJournal())
    await hub.begin()
    loop = asyncio.get_running_loop()
    began, ended = loop.time(), []

    async def wait(seconds):
        with inbox(hub, "wait", filter_=compile_filter({"type": "rental.billed"}, "t")) as one:
            one.restart()
            assert not await one.wait(began + seconds)
            ended.append((seconds, loop.time() - began >= seconds))

    with inbox(hub, "wait") as found:
        found.restart()
        waiting = asyncio.create_task(found.wait(began + 0.31))
        late = [asyncio.create_task(wait(seconds)) for seconds in (0.51, 0.11, 0.31, 0.0)]
        await turns()
        hub._journal.commit(True)
        hub._journal.announce()
        assert await waiting
        assert found not in set().union(*hub.deadlines._inboxes.values())
    async with asyncio.timeout(5):
        await asyncio.gather(*late)

    assert ended == [(0.0, True), (0.11, True), (0.31, True), (0.51, True)]
    assert hub.deadlines._inboxes == {}


def test_readers_of_one_moment_share_its_timer(monkeypatch):
    """A timer of uvloop for less than half a millisecond has no `when`.

    Mutant: the plain `loop.call_at`. The second reader then ends with an error.
    """
    monkeypatch.setattr(module, "_TICK", 0.0001)

    async def wait_twice():
        hub = hub_of(MemoryJournal())
        await hub.begin()
        soon = asyncio.get_running_loop().time() + 0.0002
        with inbox(hub, "wait") as first, inbox(hub, "wait") as second:
            first.restart()
            second.restart()
            async with asyncio.timeout(5):
                return await asyncio.gather(first.wait(soon), second.wait(soon - 0.0001))

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        assert runner.run(wait_twice()) == [False, False]


async def test_changed_event_makes_some_waits_look_again():
    """Those that look for an event after an earlier place. Streams follow the places.

    Mutants: streams look again, too; a wait looks again for an event before its place.
    """
    journal = MemoryJournal()
    journal.commit(True, True, True)
    hub = hub_of(journal)
    await hub.begin()
    with inbox(hub, "wait") as early, inbox(hub, "wait") as late, inbox(hub) as stream:
        early.changes_after, late.changes_after = 1, 2
        for its in (early, late, stream):
            its.restart()
        waiting = asyncio.create_task(early.wait())
        await turns()

        journal.change(2)

        assert await waiting
        assert [its.lost for its in (early, late, stream)] == [2, 0, 0]


@hypothesis.given(text=st.text(max_size=300))
def test_event_takes_no_more_bytes_than_its_size(text):
    """Mutants: only its body is counted; the decoded event is kept, too."""
    said = {"text": text, "code": "1", "urls": ["a"] * 3}
    body = msgspec.json.encode({"id": "e" * 36, "type": "sms.received", "data": said})
    placed = PlacedEvent(10**6, body)
    for codes in (True, False):
        placed.frames[codes] = encode("c" * 64, placed.type, placed.shown(codes=codes))

    assert held_by(placed) <= placed.size


def held_by(value):
    """Return the bytes of an object and of all that only it refers to."""
    shared = (type, type(None), bool)
    own = [part for part in gc.get_referents(value) if not isinstance(part, shared)]
    return sys.getsizeof(value) + sum(map(held_by, own))


async def test_kept_events_are_limited_by_their_bytes(monkeypatch):
    size = PlacedEvent(*event(100)).size
    monkeypatch.setattr(module, "MOST_BYTES", 3 * size)
    journal = MemoryJournal()
    hub = hub_of(journal)
    await hub.begin()
    with inbox(hub) as its:
        its.restart()
        journal.commit(*[True] * 100)
        journal.announce()

        assert len(hub.recent) == 3
        assert its.take() == []
        assert its.lost == 1


async def test_reader_of_new_events_only_gets_no_old_one():
    journal = MemoryJournal()
    journal.commit(True)
    hub = hub_of(journal)
    await hub.begin()
    journal.announce()
    with inbox(hub) as its:
        follower = Follower(its, journal.read, None)
        journal.commit(True, False, True)
        journal.announce()

        assert [one.place for one in await follower.next()] == [2, 4]


class Owner:
    """The rights of a key."""


async def test_readers_of_a_key_end_at_once():
    """Also a reader that begins later: its request was let in before.

    Mutants: keys are compared by their name; a revoked key begins to read.
    """
    revoked, other, over = Owner(), Owner(), []
    hub = hub_of(MemoryJournal(), in_force=lambda owner: owner not in over)
    await hub.begin()
    with inbox(hub, owner=revoked) as first, inbox(hub, owner=other) as second:
        waiting = [asyncio.create_task(one.wait()) for one in (first, second)]
        await turns()
        over.append(revoked)
        hub.end_readers(revoked)
        await turns()

        assert isinstance(waiting[0].exception(), ReaderEnded)
        with pytest.raises(ReaderEnded), inbox(hub, owner=revoked):
            pass
        assert not waiting[1].done()
        hub.close()
        await turns()
        assert isinstance(waiting[1].exception(), ReaderEnded)
    with pytest.raises(ReaderEnded), inbox(hub):
        pass


async def test_readers_are_limited_by_kind_key_and_connections():
    """Mutants: a key may have all; a refused reader is counted; no limit of both kinds."""
    hub = hub_of(MemoryJournal(), streams=4, waits=4)
    hub.most_readers = 5
    with contextlib.ExitStack() as open_:

        def enter(kind, name):
            try:
                open_.enter_context(inbox(hub, kind, name=name))
            except TooManyReaders as exc:
                return exc.own
            return None

        found = [enter("stream", "a") for _ in range(3)]
        found += [enter("stream", name) for name in ("b", "c", "d")]
        found += [enter("wait", name) for name in ("a", "b")]
    assert found == [None, None, True, None, None, False, None, False]
    assert (hub.streams, hub.waits) == (0, 0)
    assert enter("stream", "a") is None


# The filter of new events


GOOGLE = {"id": "go", "name": "Google", "key": "google"}
INSTAGRAM = {"id": "ig", "name": None, "key": "instagram"}
EVENTS = [
    {
        "id": str(number),
        "type": kind,
        "source": source,
        "subject": f"request/{number}",
        "recordedtime": f"2026-09-21T14:13:2{number}.000000Z",
        "data": {"to": to, "service": service, **code},
    }
    for number, (kind, source, to, code, service) in enumerate(
        [
            (
                "sms.received",
                "a",
                "+18503814729",
                {"code": "4711"},
                GOOGLE,
            ),
            ("sms.received", "b", "+18503814730", {"code": None}, None),
            ("order.expired", "a", None, {}, INSTAGRAM),
            ("system.gap", "smshook", None, {}, None),
        ]
    )
]


@pytest.mark.parametrize(
    ("wanted", "found"),
    [
        ({}, "012"),
        ({"type": ("system.gap",)}, "3"),
        ({"type": ("sms.received", "order.expired")}, "012"),
        ({"source": ("a",)}, "02"),
        ({"service": ("Google", "ig")}, "02"),
        ({"number": ("+18503814730",)}, "1"),
        ({"code": True}, "0"),
        ({"code": False}, "12"),
        ({"subject": ("request/1",), "source": ("a",)}, ""),
        ({"since": 1_790_000_001.0}, "12"),
        ({"until": 1_790_000_001.0}, "0"),
        ({"since": -1e12, "until": 1e12}, "012"),
    ],
)
def test_live_filter_takes_the_events_of_a_list(wanted, found):
    """Mutants: system events come unasked; a missing code counts as a code."""
    filter_ = live_filter(EventFilter(**wanted), None)

    assert "".join(one["id"] for one in EVENTS if filter_.holds(one)) == found


def test_key_with_a_filter_never_sees_system_events():
    key = compile_filter({"source": ["a", "smshook"]}, "t")

    filters = [live_filter(EventFilter(type=kinds), key) for kinds in ((), ("system.gap",))]

    assert [[one["id"] for one in EVENTS if each.holds(one)] for each in filters] == [
        ["0", "2"],
        [],
    ]
