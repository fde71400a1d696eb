"""How many events a second were accepted and forwarded, until the last had arrived."""

import time
from collections.abc import Callable
from typing import Protocol

import msgspec

#: Seconds without an arrival after which no more are expected.
QUIET = 2.0
#: Seconds that a backlog may take after the load has ended.
DRAIN_WITHIN = 60.0


class Lost(Exception):
    """Fewer events arrived than were accepted; says how many."""


class Arrivals(Protocol):
    """What the receiver counts."""

    @property
    def count(self) -> int: ...

    @property
    def last(self) -> float:
        """When the last arrived, by the clock of `time.monotonic`, or 0 where none has."""
        ...


class Forwarded(msgspec.Struct, frozen=True, kw_only=True):
    #: Answered with 2xx while the load lasted.
    accepted: int
    #: More than were accepted by as many as were under way when the load ended.
    arrived: int
    #: From the first request to the last arrival.
    seconds: float

    @property
    def rate(self) -> float:
        return self.arrived / self.seconds


def forwarded(load: Callable[[], int], arrivals: Arrivals, *, quiet: float = QUIET) -> Forwarded:
    """Run a load, which says how many were accepted, and wait until they have arrived.

    The backlog counts: who accepts faster than it forwards is as fast as it forwards. Raises Lost.
    """
    before, began = arrivals.count, time.monotonic()
    accepted = load()
    _await_quiet(arrivals, quiet)
    arrived = arrivals.count - before
    if arrived < accepted:
        raise Lost(
            f"{accepted} events were accepted, {arrived} arrived within {DRAIN_WITHIN:.0f} s"
        )
    if not arrived:
        raise Lost("no event was accepted")
    return Forwarded(accepted=accepted, arrived=arrived, seconds=arrivals.last - began)


def _await_quiet(arrivals: Arrivals, quiet: float) -> None:
    ended = time.monotonic()
    while True:
        now = time.monotonic()
        since = max(arrivals.last, ended)
        if now - since > quiet or now - ended > DRAIN_WITHIN:
            return
        time.sleep(0.02)
