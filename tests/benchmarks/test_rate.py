"""What counts is what arrived, over the time until the last of it had."""

import threading
import time

import pytest

from benchmarks.peers import rate
from benchmarks.peers.rate import Lost


class Arrivals:
    """A receiver's count, brought up by the test."""

    def __init__(self):
        self.count, self.last = 0, 0.0

    def come(self, many=1):
        self.count += many
        self.last = time.monotonic()


def test_the_backlog_that_arrives_after_the_load_is_part_of_the_time():
    """Mutant: with the time of the load alone, who only accepts had the best rate."""
    arrivals = Arrivals()
    late = threading.Timer(0.2, arrivals.come, [50])

    def load():
        arrivals.come(50)
        late.start()
        return 100

    found = rate.forwarded(load, arrivals, quiet=0.4)

    assert (found.accepted, found.arrived) == (100, 100)
    assert found.seconds >= 0.2
    assert found.rate == found.arrived / found.seconds


def test_what_was_under_way_when_the_load_ended_may_arrive_as_well():
    arrivals = Arrivals()

    def load():
        arrivals.come(105)
        return 100

    assert rate.forwarded(load, arrivals, quiet=0.05).arrived == 105


def test_what_came_before_the_load_is_not_counted():
    arrivals = Arrivals()
    arrivals.come(1000)

    def load():
        arrivals.come(3)
        return 3

    assert rate.forwarded(load, arrivals, quiet=0.05).arrived == 3


@pytest.mark.parametrize(
    ("accepted", "arrived", "said"),
    [(10, 9, "10 events were accepted, 9 arrived"), (0, 0, "no event was accepted")],
)
def test_what_was_accepted_and_did_not_arrive_is_a_failure(accepted, arrived, said):
    arrivals = Arrivals()

    def load():
        arrivals.count += arrived
        return accepted

    with pytest.raises(Lost, match=said):
        rate.forwarded(load, arrivals, quiet=0.05)
