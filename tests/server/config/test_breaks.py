"""Breaks in the reading of a configuration, which runs beside callbacks."""

import sys
from collections import Counter

from config_files import ENVIRON, SERVER, written

from server.config.breaks import BREAK, MOST, WORK, Breaks
from server.config.load import load


class Thread:
    """A thread with a counter of its work, which tests set."""

    def __init__(self) -> None:
        self.worked = 100.0
        self.slept: list[float] = []

    def breaks(self) -> Breaks:
        return Breaks(lambda: self.worked, self.slept.append)


def test_thread_sleeps_after_some_work():
    """Mutants: `>` for `>=` WORK, no new time after a break, a break at each call."""
    thread = Thread()
    breaks = thread.breaks()
    breaks()
    begin = thread.worked
    thread.worked = begin + WORK / 2
    breaks()
    assert thread.slept == []
    thread.worked = begin + WORK
    breaks()
    breaks()
    assert thread.slept == [BREAK]
    thread.worked += 2 * WORK
    breaks()
    assert thread.slept == [BREAK] * 2


def test_long_work_has_an_end():
    """Mutant: no limit of the breaks."""
    thread = Thread()
    breaks = thread.breaks()
    for _ in range(2 * MOST):
        thread.worked += 2 * WORK
        breaks()
    assert len(thread.slept) == MOST


def test_each_part_of_the_reading_may_take_breaks(tmp_path):
    """Between two breaks lies the work for one value. Mutants: each call of `rest` left out."""
    routes = "".join(f"  r{n}: {{to: [crm], when: {{type: sms.received}}}}\n" for n in range(50))
    sinks = "sinks:\n  crm: {type: http, url: http://127.0.0.1:9/}\n  log: {type: file, path: a}\n"
    path = written(tmp_path, f"{SERVER}{sinks}routes:\n{routes}")
    seen: Counter[str] = Counter()

    def rest() -> None:
        seen[sys._getframe(1).f_globals["__name__"]] += 1

    load(path, environ=ENVIRON, rest=rest)
    # A route has eight nodes: its name, three keys, and their values.
    assert seen["server.config.yaml"] > 50 * 8
    assert seen["server.config.convert"] > 50 * 2
    # The warnings about each `when`.
    assert seen["server.config.load"] == 50
    assert seen["server.config.cautions"] == 7
    assert seen["server.config.files"] == 3
