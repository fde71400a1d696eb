"""The rate is that of arrived events, until the last arrival."""

import threading
import time

import pytest

from benchmarks.peers import rate
from benchmarks.peers.rate import Lost


class Arrivals:
    """The count of a receiver, set by the test."""

    def __init__(self):
        self.count, self.last = 0, 0.0

    def come(self, many=1):
        self.count += many
        self.last = time.monotonic()


def test_time_of_the_backlog_counts():
    """Mutant: only the time of the load counts, so a peer that only accepts is fastest."""
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


def test_requests_in_flight_at_the_end_may_arrive_too():
    arrivals = Arrivals()

    def load():
        arrivals.come(105)
        return 100

    assert rate.forwarded(load, arrivals, quiet=0.05).arrived == 105


def test_arrivals_before_the_load_do_not_count():
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
def test_accepted_event_that_never_arrives_is_a_failure(accepted, arrived, said):
    arrivals = Arrivals()

    def load():
        arrivals.count += arrived
        return accepted

    with pytest.raises(Lost, match=said):
        rate.forwarded(load, arrivals, quiet=0.05)
