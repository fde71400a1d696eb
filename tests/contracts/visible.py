"""The contract of every journal about the events that a filter shows."""

import asyncio

import msgspec
import pytest
from contracts.journal import NOW, arrival, planned, record
from contracts.keys import named
from contracts.orders import order, sms

from core.event import Service
from journal.reads import EventFilter, Events, IsVisible, VisibleEvents
from journal.writes import ChangeFilters, CreateKey, IndexVisible, RegisterOrder, RevokeKey

#: Digests of the filters of these tests; to a journal they are only names.
GROWTH, REST, CODES = "growth", "rest", "codes"


def is_growth(event):
    return event["data"]["labels"].get("team") == "growth"


FILTERS = {
    GROWTH: is_growth,
    REST: lambda event: not is_growth(event),
    CODES: lambda event: event["data"]["code"] is not None,
}
TEAM = {"team": "growth"}


def of_growth(*keys, **said):
    return planned(*keys, labels=TEAM, **said)


async def visible(journal, shown_to=GROWTH, *, desc=False, limit=2, **wanted):
    """All ids that a filter shows, page by page; None: the filter is not indexed yet."""
    found, after = [], None
    while True:
        page = await journal.ask(
            VisibleEvents(
                shown_to=shown_to, filter=EventFilter(**wanted), after=after, limit=limit, desc=desc
            )
        )
        if page is None:
            return None
        found += [msgspec.json.decode(body)["id"] for _, body in page.items]
        if not page.has_more:
            return found
        assert len(page.items) == limit
        after = page.next_seq


def ids(*plans):
    return [plan.event.id for plan in plans]


class VisibleContract:
    """Subclass it as `TestX`; `store.start(now=…, filters=…)` opens the store once more."""

    @pytest.fixture
    async def journal(self, store):
        return await store.start(now=NOW, filters=FILTERS)

    @pytest.mark.parametrize("limit", [1, 2, 3, 4])
    async def test_filter_shows_its_events_in_pages(self, journal, limit):
        """Mutant: `has_more` where the next event is a hidden one."""
        plans = [of_growth() if place in {1, 4, 5, 9} else planned() for place in range(12)]
        await asyncio.gather(*(record(journal, plan) for plan in plans))
        mine = [plan for place, plan in enumerate(plans) if place in {1, 4, 5, 9}]

        found = await visible(journal, limit=limit)
        newest_first = await visible(journal, limit=limit, desc=True)
        last = await journal.ask(
            VisibleEvents(shown_to=GROWTH, filter=EventFilter(), after=9, limit=1)
        )

        assert found == ids(*mine)
        assert newest_first == ids(*reversed(mine))
        assert (last.next_seq, last.has_more) == (10, False)

    @pytest.mark.parametrize(
        "wanted",
        [
            {"number": ("+18505550101",)},
            {"number": ("+18505550101", "+18505550102"), "since": NOW + 3},
            {"service": ("google",)},
            {"service": ("Google",), "number": ("+18505550101",)},
            {"code": True},
            {"code": False, "number": ("+18505550102",)},
            {"request_id": ("1",), "number": ("+18505550101",)},
            {"subject": ("request/2",)},
            {"since": NOW + 3, "until": NOW + 9},
        ],
    )
    async def test_shown_events_are_those_of_the_list(self, journal, wanted):
        """Mutant: a sealed number is left to an index of numbers, and no number is compared."""
        mine, google = [], Service(id="Google", name="Google", key="google")
        for n in range(16):
            said = {
                "to": f"+1850555010{n % 3}",
                "service": google if n % 4 else None,
                "code": None if n % 5 else "123456",
                "request_id": str(n % 3),
                "subject": f"request/{n % 3}",
                "at": NOW + n,
            }
            mine.append(of_growth(**said))
            await record(journal, mine[-1], planned(**said))
        listed = await journal.ask(Events(filter=EventFilter(**wanted), limit=100))
        every = [msgspec.json.decode(body)["id"] for _, body in listed.items]

        found = await visible(journal, **wanted)

        assert found == [id_ for id_ in every if id_ in ids(*mine)]
        assert 0 < len(found) < len(mine)
        assert found[::-1] == await visible(journal, desc=True, **wanted)

    @pytest.mark.parametrize("hidden", [0, 1, 3])
    async def test_reader_until_a_time_misses_none_after_a_clock_correction(self, journal, hidden):
        """The event behind it is read twice. Hidden events do not change the cursor.

        Mutants: the cursor is that of the last event; that of the place before the one left out.
        """
        kept = []
        for at in (0, 100, 50):
            kept.append(of_growth(at=NOW + at))
            await record(journal, kept[-1])
            for _ in range(hidden):
                await record(journal, planned(at=NOW + at))

        pages, after = [], None
        for end in (60, 60, 200):
            wanted = EventFilter(until=NOW + end)
            asked = VisibleEvents(shown_to=GROWTH, filter=wanted, after=after, limit=9)
            pages.append(await journal.ask(asked))
            after = pages[-1].next_seq

        found = [[msgspec.json.decode(body)["id"] for _, body in page.items] for page in pages]
        first, late, early = ids(*kept)
        assert found == [[first, early], [early], [late, early]]
        assert [page.next_seq for page in pages] == [1, 1, 3 + 2 * hidden]

    async def test_filters_change_while_it_is_open(self, journal):
        """Mutants: new events only; a removed filter is still there, or takes another with it."""
        late = {"late": lambda event: event["data"]["code"] == "7"}
        old = [planned(code="7"), planned(code="8")]
        await asyncio.gather(*(record(journal, plan) for plan in old))
        await journal.submit(ChangeFilters(added=late, removed=(CODES,)))
        new = [planned(code="7"), of_growth(code="8")]
        await asyncio.gather(*(record(journal, plan) for plan in new))
        unfinished = await visible(journal, "late"), await visible(journal, CODES)
        while await journal.submit(IndexVisible()):
            pass

        assert unfinished == (None, None)
        assert await visible(journal, "late") == ids(old[0], new[0])
        assert await visible(journal, CODES) is None
        assert await visible(journal) == ids(new[1])

    async def test_page_of_hidden_events_stays_at_its_place(self, journal):
        await record(journal, planned())
        first = await journal.ask(VisibleEvents(shown_to=GROWTH, filter=EventFilter(), limit=1))
        await record(journal, planned(), planned())
        second = await journal.ask(VisibleEvents(shown_to=GROWTH, filter=EventFilter(), limit=1))

        assert (first.items, first.next_seq, first.has_more) == ((), 0, False)
        assert second == first

    async def test_filter_and_other_conditions_must_both_hold(self, journal):
        """Mutant: an index of the events leads past the filter."""
        subject = "request/77"
        plans = [
            of_growth(subject=subject),
            planned(subject=subject),
            of_growth(),
            of_growth(subject=subject, at=NOW + 500),
        ]
        for plan in plans:
            await record(journal, plan)

        assert await visible(journal, subject=(subject,)) == ids(plans[0], plans[3])
        assert await visible(journal, subject=(subject,), since=NOW + 200.0) == ids(plans[3])
        assert await visible(journal, until=NOW + 200.0, desc=True) == ids(plans[2], plans[0])
        assert await visible(journal, source=("herosms",)) == []

    @pytest.mark.parametrize("in_one_batch", [False, True])
    async def test_order_that_joins_later_moves_an_event(self, journal, in_one_batch):
        """Mutants: the rows of a changed event kept; only added to."""
        shown, hidden = sms("5", labels={}), sms("6", labels=TEAM)
        recorded = record(journal, shown, hidden)
        if not in_one_batch:
            await recorded
            assert await visible(journal) == ids(hidden)
        await asyncio.gather(
            recorded,
            journal.submit(RegisterOrder(order("5", labels=TEAM), None)),
            journal.submit(RegisterOrder(order("6", labels={"team": "other"}), None)),
        )

        assert await visible(journal) == ids(shown)
        assert await visible(journal, REST) == ids(hidden)

    async def test_polled_copy_that_adds_a_code_shows_the_event(self, journal):
        plan = planned(1)
        await record(journal, plan)
        before = await visible(journal, CODES)

        copy = planned(1, channel="poll", code="4711")
        await record(journal, copy, came=arrival(channel="poll"))

        assert before == []
        assert await visible(journal, CODES) == ids(plan)

    async def test_single_event_is_visible_or_not(self, journal):
        mine, other = of_growth(), planned()
        await record(journal, mine, other)

        asked = [*ids(mine, other), "event-none"]
        assert [await journal.ask(IsVisible(GROWTH, one)) for one in asked] == [True, False, False]
        assert await journal.ask(IsVisible("of no key", mine.event.id)) is None

    async def test_new_filter_is_filled_in_steps(self, store, journal):
        """Not before the last step is anything read. Mutant: complete after the first."""
        old = [of_growth() if place % 2 else planned() for place in range(9)]
        for plan in old:
            await record(journal, plan)
        new = "new"
        journal = await store.start(now=NOW, filters={new: is_growth})
        fresh = of_growth()

        seen, steps = [], 0
        while await journal.submit(IndexVisible(limit=2)):
            steps += 1
            if steps == 2:
                await record(journal, fresh)
            if steps == 3:
                journal = await store.start(now=NOW, filters={new: is_growth})
            if steps < 5:
                seen += [
                    await visible(journal, new),
                    await journal.ask(IsVisible(new, "event-none")),
                ]

        assert seen == [None] * 8
        assert await visible(journal, new) == ids(*old[1::2], fresh)
        assert steps <= 5 + 7, "five for the events, and seven for rows of the former filters"

    async def test_event_changed_while_filling_is_right(self, store, journal):
        before, after = sms("5", labels={}), sms("6", labels=TEAM)
        await record(journal, before, after)
        journal = await store.start(now=NOW, filters={"new": is_growth})
        await journal.submit(RegisterOrder(order("5", labels=TEAM), None))
        await journal.submit(RegisterOrder(order("6", labels={"team": "other"}), None))

        while await journal.submit(IndexVisible(limit=1)):
            pass

        assert await visible(journal, "new") == ids(before)

    async def test_filter_that_was_away_starts_over(self, store, journal):
        """Mutant: the rows from before are taken for the complete index."""
        first, meanwhile = of_growth(), of_growth()
        await record(journal, first)
        journal = await store.start(now=NOW, filters={})
        away = await visible(journal)
        await record(journal, meanwhile)
        journal = await store.start(now=NOW, filters=FILTERS)
        back = await visible(journal)

        while await journal.submit(IndexVisible()):
            pass

        assert (away, back) == (None, None)
        assert await visible(journal) == ids(first, meanwhile)

    async def test_complete_filter_stays_complete(self, store, journal):
        plan = of_growth()
        await record(journal, plan)

        journal = await store.start(now=NOW, filters=FILTERS)

        assert await visible(journal) == ids(plan)
        assert await journal.submit(IndexVisible()) is False

    async def test_filter_that_fails_hides_and_stores(self, store):
        """Mutant: the error reaches the batch, and nothing is stored any more."""
        journal = await store.start(now=NOW, filters={"bad": lambda event: event["none"]})

        recorded = await record(journal, planned())

        assert recorded.new == (True,)
        assert await visible(journal, "bad") == []

    @pytest.mark.parametrize("in_one_batch", [False, True])
    async def test_filter_stays_while_a_key_has_it(self, journal, in_one_batch):
        """Another key may get it at the same time.

        Mutants: the filter goes with the first key; it is decided before the batch is written.
        """
        new, plan = ("new", is_growth), of_growth()
        await record(journal, plan)
        await journal.submit(CreateKey(named("one"), new))
        while await journal.submit(IndexVisible()):
            pass
        left = []

        def is_used(stored):
            left.append([key.name for key in stored])
            return bool(stored)

        created = journal.submit(CreateKey(named("two"), new))
        if not in_one_batch:
            await created
        await asyncio.gather(created, journal.submit(RevokeKey("id of one", ("new", is_used))))
        kept = await visible(journal, "new")
        await journal.submit(RevokeKey("id of two", ("new", is_used)))

        assert (left, kept) == ([["two"], []], ids(plan))
        assert await visible(journal, "new") is None
