"""Promises 1 and 2: an event that was answered with 200 survives kill -9, once.

The oracle is outside the process. Mutants: `mutants/answer_first.py` answers before it commits; a
test here must catch it. Tried by hand: a duplicate is looked up outside the transaction, and stored
twice; workers get deliveries before the commit, and send one without an event.
"""

import asyncio
import itertools
import random
import sqlite3
import sys
import time
from pathlib import Path

import httpx
import live
import load
import pytest

#: Seconds under load until each kill: before the first answer, during the load, late in it.
CHOSEN = [0.02 + 0.05 * step for step in range(8)]
RANDOM = [random.Random(2026).uniform(0.02, 0.35) for _ in range(100)]
ANSWER_FIRST = Path(__file__).parent / "mutants" / "answer_first.py"
KILL_AT = Path(__file__).parent / "failpoints" / "kill_at.py"


class Oracle:
    """The answers that callers got, and the rows of the file afterwards."""

    def __init__(self, service):
        self.service = service
        self.answered = {}  # message -> event id
        self._numbers = itertools.count(1)

    def kill_under_load(self, after):
        """Start, send callbacks, kill `after` seconds later."""
        self.service.start()
        asyncio.run(self._until_killed(after))

    async def _until_killed(self, seconds):
        ends = time.monotonic() + seconds + 0.1
        # Each message is sent twice: the second one may be the retry of an interrupted first one.
        numbers = itertools.takewhile(lambda _: time.monotonic() < ends, self._numbers)
        doubled = itertools.chain.from_iterable((n, n) for n in numbers)
        messages = ((n, live.sms(n, at=1_700_000_000 + n)) for n in doubled)
        sending = asyncio.create_task(
            load.send(self.service.address(), self._path(), messages, clients=8)
        )
        await asyncio.sleep(seconds)
        await asyncio.to_thread(self.service.kill)
        for answer in await sending:
            for event_id in answer.accepted:
                self.answered.setdefault(answer.message, set()).add(event_id)

    def _path(self):
        return self.service.callback_url().removeprefix(self.service.url)

    def lost(self):
        """Return messages that were answered with 200, but have no stored event."""
        stored = {event_id for event_id, _ in self._events()}
        return [n for n, ids in self.answered.items() if not ids <= stored]

    def stored_twice(self):
        """Return messages with two events, or with two answered ids."""
        subjects = [subject for _, subject in self._events()]
        two_ids = [n for n, ids in self.answered.items() if len(ids) > 1]
        return two_ids + [s for s in set(subjects) if subjects.count(s) > 1]

    def _events(self):
        with sqlite3.connect(self.service.folder / "smshook.db") as conn:
            rows = conn.execute("select id, subject from events").fetchall()
        conn.close()
        return rows

    def integrity(self):
        conn = sqlite3.connect(self.service.folder / "smshook.db")
        (verdict,) = conn.execute("pragma integrity_check").fetchone()
        conn.close()
        return verdict

    def without_one_delivery(self):
        """Return events that do not have exactly one delivery."""
        conn = sqlite3.connect(self.service.folder / "smshook.db")
        rows = conn.execute(
            "select events.id, count(deliveries.id) n from events"
            " left join deliveries on deliveries.event = events.seq"
            " group by events.seq having n <> 1"
        ).fetchall()
        conn.close()
        return rows


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize(
    "moments", [CHOSEN, pytest.param(RANDOM, marks=pytest.mark.nightly)], ids=["8", "100"]
)
def test_kills_lose_nothing_and_store_nothing_twice(moments, tmp_path):
    # A killed process writes no coverage; measuring would only slow its start.
    oracle = Oracle(live.Live(tmp_path))

    for after in moments:
        oracle.kill_under_load(after)

    assert len(oracle.answered) > len(moments)  # there was load
    assert (oracle.lost(), oracle.stored_twice()) == ([], [])
    assert oracle.integrity() == "ok"
    assert oracle.without_one_delivery() == []
    everything_is_delivered(oracle, most_again=len(moments) * 64)


def everything_is_delivered(oracle, *, most_again):
    """Start without a kill: the pending deliveries are made, so that all events arrived."""
    with oracle.service.start():
        live.eventually(
            lambda: (
                oracle.service.stats()["deliveries"]["delivered"]
                == oracle.service.stats()["events"]
            ),
            within=30,
        )
        stats = oracle.service.stats()
        assert oracle.service.stop() == 0
    delivered = [event["id"] for event in oracle.service.delivered()]
    assert set(delivered) == {event_id for event_id, _ in oracle._events()}
    assert stats["events"] == len(set(delivered))
    # Some arrive twice: a kill between the fsync of the file and that of the outcome.
    assert len(delivered) - len(set(delivered)) <= most_again


@pytest.mark.slow
def test_kill_oracle_catches_an_answer_before_the_commit(tmp_path):
    mutant = live.Live(tmp_path, program=[sys.executable, str(ANSWER_FIRST)])
    oracle = Oracle(mutant)

    for after in RANDOM[:30]:
        oracle.kill_under_load(after)
        if oracle.lost():
            return

    pytest.fail("thirty kills of the mutant lost nothing: the oracle sees nothing")


@pytest.mark.parametrize(("step", "stored"), [("taken", 0), ("answering", 1)])
def test_callback_that_was_not_answered_can_be_sent_again(tmp_path, step, stored):
    """Each step is on the way of a callback: it fires. Mutant: `answer_first` (for `answering`)."""
    dying = live.Live(tmp_path, program=[sys.executable, str(KILL_AT), step])
    dying.start()
    sms = live.sms(1, at=1_700_000_000)
    with pytest.raises(httpx.TransportError):
        dying.post(sms)
    assert dying.process.wait(30) != 0

    with live.Live(tmp_path) as service:
        events = service.stats()["events"]
        again = service.post(sms).json()
        live.eventually(service.delivered)

    assert (events, again["status"]) == (stored, "duplicate" if stored else "accepted")
    assert len(service.delivered()) == 1
