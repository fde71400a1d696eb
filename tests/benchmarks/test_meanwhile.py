"""What is done beside other work fails with it, and is waited for."""

import threading

import pytest

from benchmarks.bench import Failed
from benchmarks.meanwhile import meanwhile


def test_the_block_goes_on_beside_the_work_and_ends_after_it():
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


def test_work_that_fails_fails_what_is_done_beside_it():
    """Mutant: a thread whose traceback was printed, beside a table of what never was loaded."""

    def fails():
        raise Failed("not all were answered with 2xx")

    with pytest.raises(Failed, match="not all were answered with 2xx"), meanwhile(fails):
        pass


def test_the_works_failure_is_told_rather_than_what_came_of_it():
    def fails():
        raise Failed("wrk said: nothing")

    with pytest.raises(Failed, match="wrk said") as found, meanwhile(fails):
        raise ValueError("no event was accepted; is there any load?")

    assert isinstance(found.value.__context__, ValueError)
