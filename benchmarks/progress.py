"""How far a run is, and about how long the rest of it takes. Pure."""

import statistics
from collections.abc import Sequence

from .case import Case


class Progress:
    """Of steps that are taken in their order."""

    def __init__(self, steps: Sequence[Case]) -> None:
        self._steps, self._done = steps, 0
        #: By the name of the case: seconds of its last turn.
        self._took: dict[str, float] = {}
        #: How many times as long as it says each of these took.
        self._paces: dict[str, float] = {}

    @property
    def place(self) -> str:
        """The number of the step that is next, of how many, and the time left until the end."""
        return f"[{self._done + 1}/{len(self._steps)}, {spell(self.left())} left]"

    def took(self, seconds: float) -> None:
        """The next step did."""
        case = self._steps[self._done]
        self._took[case.name], self._paces[case.name] = seconds, seconds / case.seconds
        self._done += 1

    def left(self) -> float:
        """Seconds, about: a case takes what its last turn took.

        One that had no turn yet takes what it says, as far as the others do.
        """
        pace = statistics.median(self._paces.values()) if self._paces else 1.0
        rest = self._steps[self._done :]
        return sum(self._took.get(case.name, case.seconds * pace) for case in rest)


def spell(seconds: float) -> str:
    """In minutes, or in seconds where it is less than two of them."""
    if seconds < 120:  # noqa: PLR2004 - see above
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min"
