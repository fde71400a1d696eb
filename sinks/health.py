"""What is known of one sink as a whole: whether it answers, and whether it is left alone."""

import enum
import math
from collections.abc import Callable

from .sink import PauseAfter

#: A sink at which all fails is tried so often, and for so long, whatever the schedules say: most
#: outages are restarts, and somebody waits for the code.
PROBE_EVERY = 2.0
PROBE_FOR = 60.0


class Pause(enum.StrEnum):
    """Who left a sink alone."""

    OPERATOR = "operator"  # until the operator says otherwise
    FAILING = "failing"  # the sink itself, by `pause_after`, until a probe succeeds


class SinkHealth:
    """`ticks` is a clock that only goes forward, in seconds.

    `failing_for` and `paused` are what the journal knew at the start.
    """

    def __init__(
        self,
        ticks: Callable[[], float],
        pause_after: PauseAfter | None,
        *,
        failing_for: float | None = None,
        paused: Pause | None = None,
    ) -> None:
        self._ticks, self._pause_after = ticks, pause_after
        #: Since when nothing succeeded.
        self._failing_since = None if failing_for is None else ticks() - failing_for
        self._probed_at = -math.inf
        #: Until then the sink has asked to be left alone.
        self._quiet_until = -math.inf
        #: Until then it has asked so of everything: there were too many.
        self._throttled_until = -math.inf
        self.paused = paused

    def succeeded(self) -> None:
        self._failing_since = None

    def begin_anew(self) -> None:
        """Resumed: what was before, a wish to be left alone too, says nothing any more."""
        self.paused = self._failing_since = None
        self._quiet_until = self._throttled_until = -math.inf

    def failed(self) -> None:
        if self._failing_since is None:
            self._failing_since = self._ticks()

    def asked_to_wait(self, seconds: float, *, everything: bool) -> None:
        """By Retry-After; `everything`: not only what it answered so."""
        until = self._ticks() + seconds
        self._quiet_until = max(self._quiet_until, until)
        if everything:
            self._throttled_until = max(self._throttled_until, until)

    @property
    def throttled_for(self) -> float:
        """Seconds in which nothing may be sent; 0.0: something may."""
        return max(0.0, self._throttled_until - self._ticks())

    @property
    def is_failing(self) -> bool:
        return self._failing_since is not None

    @property
    def is_up_for_pause(self) -> bool:
        """Nothing succeeded for as long as `pause_after` says."""
        if self._pause_after is None or self.paused or self._failing_since is None:
            return False
        return self._ticks() - self._failing_since >= self._pause_after.failing_for

    def takes_probe(self, down_since: float | None) -> bool:
        """Whether one delivery is to be tried now, whatever its schedule says.

        `down_since`: when the outage began, in ticks; None: there is none.
        """
        if not self._probe_is_due(down_since):
            return False
        self._probed_at = self._ticks()
        return True

    def _probe_is_due(self, down_since: float | None) -> bool:
        now = self._ticks()
        if self.paused is Pause.OPERATOR or now < self._quiet_until:
            return False
        if self.paused is Pause.FAILING and self._pause_after is not None:
            return now - self._probed_at >= self._pause_after.probe_every
        return down_since is not None and now - down_since < PROBE_FOR
