"""Attempts that begin at once are spread over turns of the event loop, in their order."""

import asyncio

import pytest

from sinks import pace as module
from sinks.pace import BUDGET, Pace


class Turns:
    """Counts turns of the event loop, and notes in which of them each attempt begins."""

    def __init__(self, hands, cost=BUDGET * 0.4):
        self.hands, self.cost, self.pace, self.now = hands, cost, Pace(hands), 0
        self.began = []
        self.tick()

    def tick(self):
        self.now += 1
        self._next = asyncio.get_running_loop().call_soon(self.tick)

    def end(self):
        self._next.cancel()

    async def attempt(self, name):
        if not self.pace.is_free():
            await self.pace.turn()
        self.began.append((self.now, name))
        self.hands.at += self.cost

    def begin(self, *names):
        return [asyncio.create_task(self.attempt(name)) for name in names]

    async def make(self, *names):
        """Begin these attempts, and wait for them; not for ever, if turns follow without end."""
        await asyncio.wait(self.begin(*names), timeout=5)

    @property
    def each(self):
        """The names of each turn in which something began."""
        found = {}
        for turn, name in self.began:
            found.setdefault(turn, []).append(name)
        return list(found.values())


@pytest.fixture
async def turns(hands):
    made = Turns(hands)
    yield made
    made.end()


async def test_few_attempts_begin_at_once(turns):
    """Mutants: each one waits for a turn; the time of a turn is never over for the next turn."""
    for _ in range(5):
        before = turns.now
        await turns.make("a", "b", "c")
        assert turns.began[-1][0] - before <= 1

    assert turns.each == [["a", "b", "c"]] * 5


@pytest.mark.parametrize("woken", [4, 32])
async def test_many_attempts_begin_in_several_turns_in_their_order(turns, monkeypatch, woken):
    """Mutants: all begin in the first turn; late ones go to the end of the line, or in reverse."""
    monkeypatch.setattr(module, "AT_ONCE", woken)
    await turns.make(*range(10))

    assert turns.each == [[0, 1, 2], [3, 4, 5], [6, 7, 8], [9]]


async def test_new_attempt_overtakes_none_that_waits(turns):
    """Mutant: an attempt may begin while others wait, because a new turn has time."""
    first = turns.begin(*range(7))
    await asyncio.sleep(0)
    assert len(turns.began) == 3
    await turns.make("new")
    await asyncio.wait(first, timeout=5)

    assert [name for _, name in turns.began] == [*range(7), "new"]


async def test_few_of_those_that_wait_are_woken_for_one_turn(turns, monkeypatch):
    """Else thousands are woken in each turn, and most have to wait again. Mutant: no limit."""
    monkeypatch.setattr(module, "AT_ONCE", 4)
    turns.cost = BUDGET
    first = turns.begin(*range(10))
    await asyncio.sleep(0)
    turns.cost = 0
    await asyncio.wait(first, timeout=5)

    assert turns.each == [[0], [1, 2, 3, 4], [5, 6, 7, 8], [9]]


@pytest.mark.parametrize("are_woken", [False, True])
async def test_cancelled_attempt_holds_up_no_other(turns, monkeypatch, are_woken):
    """Mutants: a line of cancelled ones is the end; no turn follows if all that were woken for it
    are cancelled; one that was cancelled counts as waiting.
    """
    monkeypatch.setattr(module, "AT_ONCE", 2)
    tasks = turns.begin(*range(12))
    await asyncio.sleep(0)
    if are_woken:
        await asyncio.sleep(0)
    for task in tasks[3:9]:
        task.cancel()
    await asyncio.wait(tasks, timeout=5)

    assert [name for _, name in turns.began] == [0, 1, 2, 9, 10, 11]
    assert turns.pace.is_free()


async def test_attempt_behind_a_cancelled_one_has_a_turn(turns):
    """The cancelled one left the line, and still counts. Mutant: `turn` schedules no turn."""
    *_, last = turns.begin(*range(4))
    await asyncio.sleep(0)
    new = turns.begin("new")
    last.cancel()
    await asyncio.wait(new, timeout=5)

    assert [name for _, name in turns.began] == [0, 1, 2, "new"]
