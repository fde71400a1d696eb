"""When a sink is back, what waits because of failures is brought forward: how much, and when."""

from collections.abc import Callable, Collection

#: Deliveries that are brought forward when an outage ends, and by each of them that succeeds.
FIRST = 10
MORE = 2
#: Seconds until the next ten follow where the last brought no success: twice as long each time.
SHORTEST = 2.0
LONGEST = 60.0
#: Ids that are remembered of one span between two successes.
REMEMBERED = 10_000


class Recovery:
    """What the outcomes of attempts say of one sink. Pure: `ticks` is a clock in seconds.

    An outage is a time in which a first attempt failed, or that began in failure (`down`), and
    nothing succeeded. Only a success ends it. Deliveries whose attempts failed in an outage are
    *held*: they are brought forward once, after its end. What fails while others succeed is
    refused by a sink that works, and keeps to its schedule.

    `down`: nothing had succeeded when the process ended; `holds`: it left held ones.
    """

    def __init__(
        self, ticks: Callable[[], float], *, down: bool = False, holds: bool = False
    ) -> None:
        self._ticks = ticks
        self._down_since = ticks() if down else None
        #: The number of this span between two successes, and of the last that was an outage.
        self._span, self._last_outage = 0, -1
        #: What failed in this span, as long as it is no outage.
        self._suspects: list[int] = []
        #: The journal may have held ones; at the start, those that an earlier start left.
        self._holds = self._begins = holds
        #: Ids that were brought forward and are not tried yet; how many the journal is asked for.
        self._out: set[int] = set()
        self._asked = 0
        self._wait, self._next_at = 0.0, 0.0
        #: Something did since the last were brought forward.
        self._succeeded = False

    @property
    def down_since(self) -> float | None:
        """When the outage began, in ticks; None: there is none."""
        return self._down_since

    def begin(self) -> int:
        """Call it when an attempt begins; `failed` wants the number."""
        return self._span

    def succeeded(self, delivery: int) -> int:
        """Return how many to bring forward now."""
        now, brought = self._ticks(), delivery in self._out
        self._out.discard(delivery)
        self._span, self._suspects, self._succeeded = self._span + 1, [], True
        count = self._ended(now) if self._down_since is not None or self._begins else 0
        if brought:
            # The sink takes what it had not: go on, and soon.
            self._wait, self._next_at = 0.0, min(self._next_at, now + SHORTEST)
            count += MORE
        return self._ask(count) if self._holds else 0

    def failed(
        self, delivery: int, *, first: bool, began: int
    ) -> tuple[bool, Collection[int], int]:
        """Return whether it is held, which others are now, too, and how many to bring forward.

        `first`: it was the delivery's first attempt; `began`: what `begin` returned.
        """
        self._out.discard(delivery)
        if began <= self._last_outage:
            # It hung in an outage that is over: as if it had failed before the end.
            self._holds = True
            return True, (), self._ask(1)
        held: Collection[int] = ()
        if first and self._down_since is None:
            self._down_since = self._ticks()
            held, self._suspects = self._suspects, []
        if self._down_since is not None:
            self._holds = True
            return True, held, 0
        if len(self._suspects) < REMEMBERED:
            self._suspects.append(delivery)
        return False, (), 0

    def concluded(self, delivery: int) -> None:
        """It was refused for good, has expired, or is not sent now: it says nothing."""
        self._out.discard(delivery)

    def held_again(self) -> None:
        """Something that was brought forward was put back unsent, and is held."""
        self._holds = True

    def brought_forward(self, asked: int, found: Collection[int]) -> None:
        """What the journal made due, of so many that it was asked for."""
        self._asked -= asked
        self._out.update(found)
        if len(found) < asked:
            self._holds = False

    def could_not(self, asked: int, again: float) -> None:
        """The journal could not: ask it for ten in `again` seconds."""
        self._asked -= asked
        self._succeeded, self._next_at = True, self._ticks() + again

    def wait(self) -> float | None:
        """Return the seconds until the next ten are brought forward; None: not before a success."""
        if not self._holds or self._out or self._asked:
            return None
        if self._down_since is not None or self._begins or not self._succeeded:
            return None
        return max(0.0, self._next_at - self._ticks())

    def next_ten(self) -> int:
        """Return how many to bring forward now that `wait` is over; 0: it is not."""
        if self.wait() != 0.0:
            return 0
        self._set_wait(self._ticks())
        return self._ask(FIRST)

    def _ended(self, now: float) -> int:
        began, self._down_since = self._down_since, None
        if began is not None:
            self._last_outage, self._holds = self._span - 1, True
        if self._begins or began is None or now - began >= self._wait:
            self._wait = 0.0
        elif now < self._next_at:
            # So short an outage is one event that was refused among others that were not: it must
            # not bring forward, as often as it comes, what was refused before.
            return 0
        self._begins = False
        self._set_wait(now)
        return max(0, FIRST - len(self._out) - self._asked)

    def _set_wait(self, now: float) -> None:
        self._wait = min(2 * self._wait, LONGEST) if self._wait else SHORTEST
        self._next_at = now + self._wait

    def _ask(self, count: int) -> int:
        if count:
            self._asked += count
            self._succeeded = False
        return count
