"""Promise 1 and 2: what was answered 200 survives kill -9, once. The oracle is outside.

Mutants: `mutants/answer_first.py` answers before it commits and must be caught here. Tried by
hand too: a duplicate looked up outside the transaction (stored twice), a hand-over before the
commit (a delivery of an event that is not there).
"""

import asyncio
import itertools
import random
import sqlite3
import sys
import time
from pathlib import Path

import live
import load
import pytest

#: Seconds under load until each kill: before the first answer, amid the load, late in it.
CHOSEN = [0.02 + 0.03 * step for step in range(12)]
RANDOM = [random.Random(2026).uniform(0.02, 0.35) for _ in range(100)]
ANSWER_FIRST = Path(__file__).parent / "mutants" / "answer_first.py"


class Oracle:
    """What the outside was told, and what the file says afterwards."""

    def __init__(self, service):
        self.service = service
        self.told = {}  # message -> event id
        self._numbers = itertools.count(1)

    def kill_under_load(self, after):
        """Start, send callbacks, kill `after` seconds later."""
        self.service.start()
        asyncio.run(self._until_killed(after))

    async def _until_killed(self, seconds):
        ends = time.monotonic() + seconds + 0.1
        # Each message is sent twice, so that a retry meets a first that was cut off.
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
                self.told.setdefault(answer.message, set()).add(event_id)

    def _path(self):
        return self.service.callback_url().removeprefix(self.service.url)

    def lost(self):
        """Messages that were answered 200 and whose event is not there."""
        stored = {event_id for event_id, _ in self._events()}
        return [n for n, ids in self.told.items() if not ids <= stored]

    def stored_twice(self):
        """Messages that are two events, or that were told two ids."""
        subjects = [subject for _, subject in self._events()]
        told_two = [n for n, ids in self.told.items() if len(ids) > 1]
        return told_two + [s for s in set(subjects) if subjects.count(s) > 1]

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

    def owed_nothing_to(self):
        """Events without exactly one delivery."""
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
    "moments", [CHOSEN, pytest.param(RANDOM, marks=pytest.mark.nightly)], ids=["12", "100"]
)
def test_kills_lose_nothing_and_store_nothing_twice(moments, tmp_path):
    # A killed process writes no coverage; measuring it would only slow its start.
    oracle = Oracle(live.Live(tmp_path, covered=False))

    for after in moments:
        oracle.kill_under_load(after)

    assert len(oracle.told) > len(moments)  # it was a load
    assert (oracle.lost(), oracle.stored_twice()) == ([], [])
    assert oracle.integrity() == "ok"
    assert oracle.owed_nothing_to() == []
    everything_is_delivered(oracle, most_again=len(moments) * 64)


def everything_is_delivered(oracle, *, most_again):
    """Every delivery was made or is still owed: after a start without a kill all are made."""
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
    # At least once: a kill between fsync of the file and of its outcome sends again.
    assert len(delivered) - len(set(delivered)) <= most_again


@pytest.mark.slow
def test_the_oracle_catches_a_service_that_answers_before_it_commits(tmp_path):
    mutant = live.Live(tmp_path, program=[sys.executable, str(ANSWER_FIRST)])
    oracle = Oracle(mutant)

    for after in RANDOM[:30]:
        oracle.kill_under_load(after)
        if oracle.lost():
            return

    pytest.fail("thirty kills of the mutant lost nothing: the oracle sees nothing")
