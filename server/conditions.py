"""When a condition is reported: once when it begins and once when it ends. Pure.

Rules that live here: a condition is raised after it held for a while, and cleared after it did not
hold for a while. One that flaps is raised seldom. What was raised is always cleared.

All times are seconds of a clock that only goes forward.
"""

import enum
import math
from collections import deque
from collections.abc import Mapping

import msgspec


class Severity(enum.StrEnum):
    """How urgent a condition is."""

    INFO = "info"
    WARNING = "warning"
    CRITICAL = "critical"


_RANKS: Mapping[Severity, int] = {severity: rank for rank, severity in enumerate(Severity)}


class ConditionChange(enum.StrEnum):
    """What is to be reported."""

    RAISED = "raised"
    WORSE = "worse"  # it was raised before, and is more urgent now
    CLEARED = "cleared"


class Timing(msgspec.Struct, frozen=True, kw_only=True):
    """How long a condition must hold, or not hold, before it is reported, in seconds."""

    after: float = 0.0
    clear: float = 0.0
    #: Seconds between two times that it is raised, at least.
    quiet: float = 0.0


class Condition:
    """One condition of one subject: whether it is raised, and since when it holds."""

    def __init__(self) -> None:
        self.is_raised = False
        #: When it began; None: it does not hold.
        self.since: float | None = None
        #: When it stopped holding, while it is raised; None: it holds.
        self.ended: float | None = None
        #: The highest severity that was reported since it was raised.
        self.severity = Severity.INFO
        self._raised_at = self._cleared_at = -math.inf

    @classmethod
    def restored(
        cls, *, raised_at: float, since: float, severity: Severity, cleared_at: float | None
    ) -> "Condition":
        """Return a condition as an earlier start of the process left it."""
        condition = cls()
        condition._raised_at = raised_at
        if cleared_at is None:
            condition.is_raised, condition.since, condition.severity = True, since, severity
        else:
            condition._cleared_at = cleared_at
        return condition

    def look(
        self,
        holds: bool | None,  # noqa: FBT001 - the question itself
        now: float,
        timing: Timing,
        *,
        severity: Severity = Severity.WARNING,
        since: float | None = None,
    ) -> ConditionChange | None:
        """Return what is to be reported now, and count it as reported.

        `holds` None: unknown, so nothing changes. `since` is when it began, if that is known.
        """
        if holds is None:
            return None
        if not holds:
            return self._end(now, timing)
        self.ended = None
        if self.is_raised:
            if _RANKS[severity] <= _RANKS[self.severity]:
                return None
            self.severity = severity
            return ConditionChange.WORSE
        # After it was cleared, it begins anew: the same beginning would have the same event.
        began = now if since is None else min(max(since, self._cleared_at), now)
        self.since = began if self.since is None else min(self.since, began)
        if now - self.since < timing.after or now - self._raised_at < timing.quiet:
            return None
        self.is_raised, self._raised_at, self.severity = True, now, severity
        return ConditionChange.RAISED

    def leave(self, now: float) -> ConditionChange | None:
        """Clear it because it is no longer checked, and return what is to be reported.

        If it is checked again and holds, it is raised again, also within `quiet`.
        """
        change = self._end(now, Timing())
        if change is not None:
            self._raised_at = -math.inf
        return change

    def _end(self, now: float, timing: Timing) -> ConditionChange | None:
        if not self.is_raised:
            self.since = None
            return None
        if self.ended is None:
            self.ended = now
        if now - self.ended < timing.clear:
            return None
        self.is_raised, self.since, self._cleared_at = False, None, now
        return ConditionChange.CLEARED


class Window:
    """Counts what happened within the last seconds, to a tenth of the time."""

    def __init__(self, within: float) -> None:
        self._slot = within / 10
        #: The number of the slot, and the count in it; the oldest first.
        self._counts: deque[list[int]] = deque()

    def add(self, count: int, now: float) -> None:
        number = int(now // self._slot)
        if self._counts and self._counts[-1][0] == number:
            self._counts[-1][1] += count
        else:
            self._counts.append([number, count])

    def count(self, now: float) -> int:
        """Return how many were added within the time."""
        first = int(now // self._slot) - 10
        while self._counts and self._counts[0][0] < first:
            self._counts.popleft()
        return sum(count for _, count in self._counts)
