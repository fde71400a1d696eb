"""The health of one sink: whether it fails, is paused, or asked to be left alone.

Rules that live here: the times between the probes of a failing sink, and their end; when
`pause_after` pauses it; how long a sink is left alone after a 429, or not probed after a 503.
"""

import enum
import math
from collections.abc import Callable

from .sink import PauseAfter

#: Seconds between two probes of a failing sink, and from its failure to the last probe. Most
#: outages are restarts, and a person may be waiting for the code.
PROBE_EVERY = 2.0
PROBE_FOR = 60.0


class Pause(enum.StrEnum):
    """The cause of a pause."""

    OPERATOR = "operator"  # until the operator resumes it
    FAILING = "failing"  # its own `pause_after`, until a probe succeeds
    GONE = "gone"  # a subscription answered 410, until it is resumed
    KEY = "key"  # the API key of a subscription ended, until it is resumed
    SECRET = "secret"  # noqa: S105 - the secret of a subscription cannot be opened, until it can


class SinkHealth:
    """The health of one sink. `ticks` is a clock in seconds that only goes forward.

    `failing_for` (seconds) and `paused` are the state that the journal kept at the start.
    """

    def __init__(
        self,
        ticks: Callable[[], float],
        pause_after: PauseAfter | None,
        *,
        failing_for: float | None = None,
        paused: Pause | None = None,
    ) -> None:
        self._ticks, self.pause_after = ticks, pause_after
        #: The start of the failures; None: no failure since the last success.
        self._failing_since = None if failing_for is None else ticks() - failing_for
        self._probed_at = -math.inf
        #: No probe before this: the sink sent Retry-After.
        self._quiet_until = -math.inf
        #: No attempt before this: the sink answered 429.
        self._throttled_until = -math.inf
        self.paused = paused

    @property
    def throttled_for(self) -> float:
        """The seconds until an attempt is allowed; 0.0: now."""
        return max(0.0, self._throttled_until - self._ticks())

    @property
    def failing_for(self) -> float | None:
        """Seconds since the start of the failures; None: no failure since the last success."""
        return None if self._failing_since is None else self._ticks() - self._failing_since

    @property
    def is_failing(self) -> bool:
        return self._failing_since is not None

    @property
    def should_pause(self) -> bool:
        """Whether no attempt succeeded for the time of `pause_after`."""
        if self.pause_after is None or self.paused or self._failing_since is None:
            return False
        return self._ticks() - self._failing_since >= self.pause_after.failing_for

    def record_success(self) -> None:
        self._failing_since = None

    def record_failure(self) -> None:
        if self._failing_since is None:
            self._failing_since = self._ticks()

    def reset(self) -> None:
        """Forget failures and Retry-After: the sink was resumed."""
        self.paused = self._failing_since = None
        self.forget_retry_after()

    def forget_retry_after(self) -> None:
        """Attempt and probe again at any time: the destination is another one."""
        self._quiet_until = self._throttled_until = -math.inf

    def defer(self, seconds: float, *, everything: bool) -> None:
        """Obey Retry-After: make no probe, and with `everything` no attempt."""
        until = self._ticks() + seconds
        self._quiet_until = max(self._quiet_until, until)
        if everything:
            self._throttled_until = max(self._throttled_until, until)

    def begin_probe(self, down_since: float | None) -> bool:
        """Return whether to try one delivery now, before its schedule, and remember the time.

        `down_since`: when the outage began, in ticks; None: there is no outage.
        """
        now = self._ticks()
        if self.paused not in (None, Pause.FAILING) or now < self._quiet_until:
            return False
        if self.paused is Pause.FAILING and self.pause_after is not None:
            is_due = now - self._probed_at >= self.pause_after.probe_every
        else:
            is_due = down_since is not None and now - down_since < PROBE_FOR
        if is_due:
            self._probed_at = now
        return is_due
