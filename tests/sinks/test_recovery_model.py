"""Recovery, and first attempts before retries: invariants over generated histories of a sink.

A real worker with a real journal runs each history in virtual time. A history has the times at
which the sink is up and down, the events that it refuses although it is up, the time of each
answer, the rate and the slots. The checks use the attempts that the sink saw.
"""

import asyncio
import itertools
import tempfile
from pathlib import Path

import msgspec
import pytest
from hypothesis import HealthCheck, event, given, settings
from hypothesis import strategies as st
from virtual import VirtualLoop
from worlds import VirtualWorld

from core.units import Duration, Rate
from sinks.pace import Pace
from sinks.retry import Retry
from sinks.sink import Failed, Receipt, Sink
from sinks.worker import Worker

#: After the first attempt no retry is due within a history: each further attempt is a probe, or
#: was brought forward.
ONCE = Retry(schedule=(Duration(0), Duration(36000), Duration(36000)))
#: Seconds at the end of a history without new events; the sink is up.
AFTERWARDS = 150.0
#: Journals and threads take no virtual time. Sleeps that end together may end in any order.
TIE = 1e-6


class History(msgspec.Struct, frozen=True):
    #: (is up, seconds), one after the other.
    spells: tuple[tuple[bool, float], ...]
    #: Seconds from one event to the next; whether the sink refuses it.
    arrivals: tuple[tuple[float, bool], ...]
    #: Seconds that each attempt takes, in turn.
    takes: tuple[float, ...]
    slots: int
    rate: float | None
    retry: Retry = ONCE

    def is_up(self, at):
        for up, seconds in self.spells:
            if at < seconds:
                return up
            at -= seconds
        return True

    @property
    def lasts(self):
        return max(sum(seconds for _, seconds in self.spells), sum(gap for gap, _ in self.arrivals))


HISTORIES = st.builds(
    History,
    spells=st.lists(
        st.tuples(st.booleans(), st.sampled_from([0.5, 3.0, 10.0, 40.0])), max_size=5
    ).map(tuple),
    arrivals=st.lists(
        st.tuples(st.sampled_from([0.0, 0.1, 0.5, 2.0]), st.sampled_from([False, False, True])),
        min_size=1,
        max_size=60,
    ).map(tuple),
    takes=st.lists(st.sampled_from([0.0, 0.02, 0.3, 1.5]), min_size=1, max_size=4).map(tuple),
    slots=st.integers(1, 4),
    rate=st.sampled_from([None, None, 4.0]),
)


class Tried(msgspec.Struct):
    event_id: str
    first: bool
    began: float
    ended: float = float("inf")
    #: Its place among all that ended: several may end at the same time.
    place: float = float("inf")
    succeeded: bool = False


class Life(VirtualWorld):
    """The sink lives as the history says."""

    def __init__(self, path, loop, history):
        super().__init__(path, loop)
        self.history = history
        self.tried, self.accepted_at, self.refused = [], {}, set()
        self._known = set()
        self._takes, self._places = itertools.cycle(history.takes), itertools.count()

    async def send(self, outgoing):
        if msgspec.json.decode(outgoing.body)["data"]["text"] == "refused":
            self.refused.add(outgoing.event_id)
        first = outgoing.event_id not in self._known
        self._known.add(outgoing.event_id)
        tried = Tried(outgoing.event_id, first, self.loop.time())
        self.tried.append(tried)
        await asyncio.sleep(next(self._takes))
        tried.ended, tried.place = self.loop.time(), next(self._places)
        tried.succeeded = self.history.is_up(tried.ended) and outgoing.event_id not in self.refused
        if not tried.succeeded:
            raise Failed("status", status=400)
        return Receipt(status=200)

    async def live(self):
        await self.start()
        rate = self.history.rate and Rate(self.history.rate, 1)
        sink = Sink(concurrency=self.history.slots, rate=rate, retry=self.history.retry)
        worker = Worker("log", sink, self.journal, self.clock, pace=Pace(self.loop.time))
        self.go(worker, self)
        for gap, is_refused in self.history.arrivals:
            await asyncio.sleep(gap)
            at = self.loop.time()
            # The event may be sent before its id is known here: the text marks refused events.
            text = {"text": "refused"} if is_refused else {}
            self.accepted_at[await self.accept(worker, **text)] = at
        await asyncio.sleep(max(0.0, self.history.lasts - self.loop.time()) + AFTERWARDS)
        await self.end()


def lived(history):
    loop = VirtualLoop()
    with tempfile.TemporaryDirectory() as folder:
        life = Life(Path(folder) / "smshook.db", loop, history)
        with asyncio.Runner(loop_factory=lambda: loop) as runner:
            runner.run(life.live())
    return life


def outages(tried):
    """Return (begin, end) of each outage that ended, and the begin of one that has not.

    An outage begins when a first attempt fails, and ends at the next success.
    """
    found, down = [], None
    for one in sorted(tried, key=lambda one: one.place):
        if one.succeeded:
            if down is not None:
                found.append((down, one.ended))
            down = None
        elif one.first and down is None:
            down = one.ended
    return found, down


@settings(max_examples=15, suppress_health_check=list(HealthCheck))
@given(HISTORIES)
def test_sink_gets_fresh_first_and_recovers_step_by_step(history):
    """Mutants: a retry is picked first; retries may take all slots; an event that a working sink
    refused is held, and brought forward at each success."""
    life = lived(history)
    first = {one.event_id: one for one in life.tried if one.first}
    again = [one for one in life.tried if not one.first]
    ended, down = outages(life.tried)
    event(f"{len(ended)} outages, {'again' if again else 'never again'}")

    # Each event is tried, and a first attempt waits for no retry.
    assert set(first) == set(life.accepted_at)
    for retried in again:
        waiting = [
            id_
            for id_, at in life.accepted_at.items()
            if at < retried.began - TIE and first[id_].began > retried.began + TIE
        ]
        assert waiting == []
    # One of several slots is never given to a retry.
    for retried in again:
        beside = [one for one in again if one.began <= retried.began < one.ended - TIE]
        assert len(beside) <= max(1, history.slots - 1)
    # Accepted events are delivered: no delivery is left behind after an outage.
    if down is None:
        delivered = {one.event_id for one in life.tried if one.succeeded}
        assert set(life.accepted_at) - delivered <= life.refused
    # A refused event is retried by probes in an outage, and once after each outage.
    for event_id in life.refused:
        unasked = [
            one.began
            for one in again
            if one.event_id == event_id and not is_probed(one.began, life.tried)
        ]
        assert len(unasked) <= len(ended)


def is_probed(at, tried):
    """Return whether there was an outage at that time: then the oldest delivery is probed."""
    before = [one for one in tried if one.ended <= at + TIE]
    return outages(before)[1] is not None


@pytest.mark.parametrize("spells", [10, pytest.param(40, marks=pytest.mark.nightly)])
@pytest.mark.uncounted
def test_each_event_is_delivered_once_in_the_longest_history(spells):
    """The sink is up and down with a backlog, at night for an hour.

    Mutant: a lane loses a delivery.
    """
    history = History(
        spells=tuple((n % 2 == 0, 30.0 + n) for n in range(spells)),
        arrivals=tuple((0.0 if n % 7 else 12.0, n % 11 == 0) for n in range(18 * spells)),
        takes=(0.02, 0.3, 0.0),
        slots=3,
        rate=None,
        retry=Retry(),
    )

    life = lived(history)

    successes = [one.event_id for one in life.tried if one.succeeded]
    assert len(successes) == len(set(successes))
    assert set(life.accepted_at) - set(successes) == life.refused
