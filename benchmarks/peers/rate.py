"""The rate of events that were accepted and forwarded, measured until the last arrival."""

import time
from collections.abc import Callable
from typing import Protocol

import msgspec

#: After this many seconds without an arrival, no more are expected.
QUIET = 2.0
#: The longest time to wait for the backlog after the load, in seconds.
DRAIN_WITHIN = 60.0


class Lost(Exception):
    """Fewer events arrived than were accepted."""


class Arrivals(Protocol):
    """The counters of the receiver."""

    @property
    def count(self) -> int: ...

    @property
    def last(self) -> float:
        """When the last arrived, by `time.monotonic`; 0 before the first."""
        ...


class Forwarded(msgspec.Struct, frozen=True, kw_only=True):
    #: Callbacks answered with 2xx during the load.
    accepted: int
    #: May be more: callbacks in flight at the end of the load can arrive too.
    arrived: int
    #: From the first request to the last arrival.
    seconds: float

    @property
    def rate(self) -> float:
        return self.arrived / self.seconds


def forwarded(load: Callable[[], int], arrivals: Arrivals, *, quiet: float = QUIET) -> Forwarded:
    """Run a load, which returns the number accepted, and wait until these have arrived.

    The time of the backlog counts: the slower of accepting and forwarding is the rate. Raises Lost.
    """
    before, began = arrivals.count, time.monotonic()
    accepted = load()
    ended = time.monotonic()
    while (now := time.monotonic()) - ended <= DRAIN_WITHIN:
        if now - max(arrivals.last, ended) > quiet:
            break
        time.sleep(0.02)
    arrived = arrivals.count - before
    if arrived < accepted:
        raise Lost(
            f"{accepted} events were accepted, {arrived} arrived within {DRAIN_WITHIN:.0f} s"
        )
    if not arrived:
        raise Lost("no event was accepted")
    return Forwarded(accepted=accepted, arrived=arrived, seconds=arrivals.last - began)
