"""When an outage begins and ends, and how many held deliveries to bring forward. Pure.

Rules that live here: recovery (docs/concepts.md#outages and docs/guarantees.md): the first ten, two
more for each success, and the next ten after 2, 4, … 60 seconds.
"""

from collections.abc import Callable, Collection
from typing import NamedTuple

#: Deliveries that are brought forward when an outage ends, and for each of them that succeeds.
FIRST = 10
MORE = 2
#: Seconds to wait before ten more are brought forward, if none of the last ten succeeded. It
#: doubles each time.
SHORTEST = 2.0
LONGEST = 60.0
#: Failed ids that are remembered between two successes.
REMEMBERED = 10_000


class Step(NamedTuple):
    """The consequence of one attempt for the sink's failed deliveries."""

    #: The attempt's own delivery is held.
    held: bool = False
    #: Deliveries that failed earlier and are held from now on.
    hold: Collection[int] = ()
    #: How many held deliveries to bring forward now.
    bring: int = 0


class Outages:
    """The outages of one sink, drawn from the outcomes of its attempts.

    An outage is a time in which a first attempt failed (or that began in failure) and nothing
    succeeded. Only a success ends it. Deliveries that fail in an outage are *held*: they are
    brought forward once, after its end. A delivery that fails while others succeed is refused by
    a sink that works, and keeps its schedule.

    `ticks` is a clock in seconds. `down`: nothing had succeeded when the process ended. `holds`:
    it left held deliveries.
    """

    def __init__(
        self, ticks: Callable[[], float], *, down: bool = False, holds: bool = False
    ) -> None:
        self._ticks = ticks
        self._down_since = ticks() if down else None
        #: The number of this span between two successes, and of the last that was an outage.
        self._span, self._last_outage = 0, -1
        #: Ids that failed in this span, as long as it is no outage.
        self._suspects: list[int] = []
        #: The journal may have held ones; at the start, those that an earlier start left.
        self._holds = self._begins = holds
        #: Ids that were brought forward and are not tried yet; how many the journal was asked for.
        self._out: set[int] = set()
        self._asked = 0
        self._wait, self._next_at = 0.0, 0.0
        #: Something succeeded since the last ten were brought forward.
        self._succeeded = False

    @property
    def down_since(self) -> float | None:
        """When the outage began, in ticks; None: there is no outage."""
        return self._down_since

    def begin_attempt(self) -> int:
        """Return the number to give to `record_failure`."""
        return self._span

    def record_success(self, delivery: int) -> Step:
        now, brought, count = self._ticks(), delivery in self._out, 0
        self._out.discard(delivery)
        self._span, self._suspects, self._succeeded = self._span + 1, [], True
        began, self._down_since = self._down_since, None
        if began is not None:
            self._last_outage, self._holds = self._span - 1, True
        if began is not None or self._begins:
            # A short outage is one refused event among accepted ones. It must not bring forward,
            # each time it comes, the events that were refused before.
            is_long = self._begins or began is None or now - began >= self._wait
            if is_long:
                self._wait = 0.0
            if is_long or now >= self._next_at:
                self._begins = False
                self._set_wait(now)
                count = max(0, FIRST - len(self._out) - self._asked)
        if brought:
            # The sink takes deliveries that it refused before: continue soon.
            self._wait, self._next_at = 0.0, min(self._next_at, now + SHORTEST)
            count += MORE
        return Step(bring=self._ask(count)) if self._holds else Step()

    def record_failure(self, delivery: int, *, first: bool, began: int) -> Step:
        """`first`: it was the delivery's first attempt; `began`: the result of `begin_attempt`."""
        self._out.discard(delivery)
        if began <= self._last_outage:
            # It hung in an outage that has ended: as if it had failed before the end.
            self._holds = True
            return Step(held=True, bring=self._ask(1))
        hold: Collection[int] = ()
        if first and self._down_since is None:
            self._down_since = self._ticks()
            hold, self._suspects = self._suspects, []
        if self._down_since is not None:
            self._holds = True
            return Step(held=True, hold=hold)
        if len(self._suspects) < REMEMBERED:
            self._suspects.append(delivery)
        return Step()

    def forget(self, delivery: int) -> None:
        """Drop a delivery that was refused for good, expired, or was not sent."""
        self._out.discard(delivery)

    def mark_held(self) -> None:
        """Remember that a delivery was given back unsent, and is held again."""
        self._holds = True

    def record_forwarded(self, asked: int, found: Collection[int]) -> None:
        """Note the ids that the journal made due when it was asked for `asked`."""
        self._asked -= asked
        self._out.update(found)
        if len(found) < asked:
            self._holds = False

    def postpone(self, asked: int, again: float) -> None:
        """Note that the journal was unavailable: it is asked for ten in `again` seconds."""
        self._asked -= asked
        self._succeeded, self._next_at = True, self._ticks() + again

    def wait(self) -> float | None:
        """Return the seconds until the next ten; None: not before a success."""
        if not self._holds or self._out or self._asked:
            return None
        if self._down_since is not None or self._begins or not self._succeeded:
            return None
        return max(0.0, self._next_at - self._ticks())

    def next_ten(self) -> int:
        """Return how many to bring forward after `wait`; 0: it is not over."""
        if self.wait() != 0.0:
            return 0
        self._set_wait(self._ticks())
        return self._ask(FIRST)

    def _set_wait(self, now: float) -> None:
        self._wait = min(2 * self._wait, LONGEST) if self._wait else SHORTEST
        self._next_at = now + self._wait

    def _ask(self, count: int) -> int:
        if count:
            self._asked += count
            self._succeeded = False
        return count
