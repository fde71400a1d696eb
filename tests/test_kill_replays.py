"""kill -9 in the middle of a replay: it goes on, and makes each delivery once."""

import asyncio
import sqlite3
import sys
from collections import Counter
from pathlib import Path

import live
import load
import pytest

KILL = Path(__file__).parent / "failpoints" / "kill_replay.py"
EVENTS = 450


class Replayed:
    """A service with events, and a replay that is killed once."""

    def __init__(self, folder, *program):
        self.service = live.Live(folder, program=[sys.executable, str(KILL), *program])

    def run(self):
        """Return the replay before the kill and at its end."""
        with self.service as service:
            path = service.callback_url().removeprefix(service.url)
            messages = ((n, live.sms(n, at=1_700_000_000 + n)) for n in range(1, EVENTS + 1))
            asyncio.run(load.send(service.address(), path, messages, clients=8))
            began = service.api("/replays", method="POST", json={"since": "1h"}).json()
            service.process.wait(30)
            service.program = [live.command()]
        with self.service.start():
            path = f"/replays/{began['id']}"
            live.eventually(lambda: self._is_over(path), within=60)
            live.eventually(lambda: len(self.service.delivered()) >= 2 * EVENTS, within=60)
            ended = self.service.api(path).json()
            self.service.stop()
        return began, ended

    def _is_over(self, path):
        return self.service.api(path).json()["state"] != "running"

    def made(self):
        """Return the number of events by the number of deliveries that the replay made of them."""
        conn = sqlite3.connect(self.service.folder / "smshook.db")
        rows = conn.execute(
            "select count(deliveries.id) from events"
            " left join deliveries on deliveries.event = seq and replay group by seq"
        ).fetchall()
        conn.close()
        return Counter(number for (number,) in rows)


@pytest.mark.timeout(180)
def test_killed_replay_makes_each_delivery_once(tmp_path):
    """It is killed when a step is on disk and its outcome is not known yet."""
    replayed = Replayed(tmp_path, "3")

    began, done = replayed.run()

    assert (began["state"], began["matched"]) == ("running", EVENTS)
    assert (done["state"], done["replayed"], done["created"]) == ("done", EVENTS, EVENTS)
    assert replayed.made() == {1: EVENTS}
    written = Counter(event["id"] for event in replayed.service.delivered())
    assert len(written) == EVENTS
    assert min(written.values()) == 2


@pytest.mark.timeout(180)
def test_place_outside_the_transaction_is_caught(tmp_path):
    """The mutant of the test above: a step is made again after the kill."""
    replayed = Replayed(tmp_path, "3", "move_later")

    replayed.run()

    assert replayed.made()[2] > 0
