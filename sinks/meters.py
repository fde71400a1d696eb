"""Counts of a sink's worker since its start, for the metrics."""

from collections import defaultdict

from core.delivery import Attempt
from core.meters import Histogram

#: Seconds from acceptance to delivery.
LAG = (
    0.005,
    0.01,
    0.025,
    0.05,
    0.1,
    0.25,
    0.5,
    1,
    2.5,
    5,
    10,
    30,
    60,
    300,
    900,
    3600,
    14400,
    86400,
)
#: Outcomes with words of their own. A sink of a plugin may have many; the others are `other`.
_MOST_WORDS = 30


class SinkMeters:
    """The settled attempts of a sink."""

    def __init__(self) -> None:
        #: By outcome and by our word for the error; empty: there was none.
        self.attempts: dict[tuple[str, str], int] = defaultdict(int)
        #: By the status of the answer.
        self.statuses: dict[int, int] = defaultdict(int)
        self.seconds = Histogram()
        #: From acceptance to the end of the attempt that delivered.
        self.lag = Histogram(LAG)

    def add(self, attempt: Attempt, *, accepted_at: float) -> None:
        outcome = (attempt.outcome, attempt.error or "")
        if outcome not in self.attempts and len(self.attempts) >= _MOST_WORDS:
            outcome = (attempt.outcome, "other")
        self.attempts[outcome] += 1
        status = attempt.status
        if status is not None and (status in self.statuses or len(self.statuses) < _MOST_WORDS):
            self.statuses[status] += 1
        seconds = attempt.took_ms / 1000
        self.seconds.add(seconds)
        if attempt.outcome == "delivered":
            self.lag.add(max(0.0, attempt.at + seconds - accepted_at))
