"""Loads are compared with what the product counts, and work beside them is waited for."""

import threading
from pathlib import Path

import pytest

from benchmarks.lab.processes import CaseFailed, Growth, Load, Product, meanwhile


def test_block_runs_beside_the_work_and_ends_after_it():
    begun, end = threading.Event(), threading.Event()

    def work():
        begun.set()
        end.wait()
        return "done"

    with meanwhile(work) as working:
        begun.wait()
        assert not working.done()
        end.set()

    assert working.result() == "done"


def test_error_of_the_work_is_raised_by_the_block():
    """Mutant: the traceback of the thread is printed beside a table without a load."""

    def fails():
        raise CaseFailed("not all were answered with 2xx")

    with pytest.raises(CaseFailed, match="not all were answered with 2xx"), meanwhile(fails):
        pass


def test_error_of_the_work_replaces_that_of_the_block():
    def fails():
        raise CaseFailed("wrk said: nothing")

    with pytest.raises(CaseFailed, match="wrk said") as found, meanwhile(fails):
        raise ValueError("no event was accepted; is there any load?")

    assert isinstance(found.value.__context__, ValueError)


class ScriptedProduct(Product, frozen=True, kw_only=True):
    """A product with scripted counters: each question gets the next."""

    script: list[dict[str, int]]

    def stats(self):
        return self.script.pop(0) if len(self.script) > 1 else self.script[0]


def product(*script):
    named = {"folder": Path(), "journal": Path(), "port": 0, "admin_port": 0}
    return ScriptedProduct(script=list(script), token="", key="", **named)


def test_wrong_number_of_events_is_a_failure():
    scripted = product({"events": 90, "duplicates": 0})

    assert scripted.check(Load(answered=80, rate=1.0), connections=10) == 90
    for answered in (79, 91):
        with pytest.raises(CaseFailed, match="90 events are there"):
            scripted.check(Load(answered=answered, rate=1.0), connections=10)


def test_wrong_number_of_copies_is_a_failure():
    """Mutants: a rate of duplicates of which half were lost; of answers that nothing stands for."""
    before, scripted = {"events": 10, "duplicates": 5}, product({"events": 30, "duplicates": 65})

    assert scripted.check_copies(80, before=before, in_flight=0) == Growth(events=20, duplicates=60)
    assert scripted.check_copies(70, before=before, in_flight=10) == Growth(
        events=20, duplicates=60
    )
    for answered in (69, 81):
        with pytest.raises(CaseFailed, match="they became 20 events and 60 duplicates"):
            scripted.check_copies(answered, before=before, in_flight=10)


def test_at_rest_waits_for_requests_in_flight():
    """Mutant: counted from before the last of another load came."""
    scripted = product(*({"events": 10, "duplicates": copies} for copies in (1, 2, 4, 4)))

    assert scripted.at_rest() == {"events": 10, "duplicates": 4}


def test_missing_deliveries_are_a_failure():
    scripted = product({"deliveries": {"pending": 1, "sending": 0, "delivered": 3}})

    assert scripted.await_delivered(3) > 0
    with pytest.raises(CaseFailed, match=r"4 deliveries were not made within 0 s"):
        scripted.await_delivered(4, within=0.05)
    with pytest.raises(CaseFailed, match=r"deliveries were still pending within 0 s"):
        scripted.await_settled(within=0.05)
