"""A run: every case in each repetition, so that all cases meet the same machine."""

import statistics
import sys
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from itertools import chain

from server import __version__

from .case import Case, Measured
from .lab import machine
from .lab.processes import Bench, CaseFailed
from .peers.peer import NotMeasured
from .report.goals import GOALS, judged
from .report.results import Figure, Results, Series, Unmeasured

Say = Callable[[str], None]


class Run:
    """Collects the findings of the cases."""

    def __init__(self, bench: Bench, say: Say, *, commit: str) -> None:
        """`commit` is the one checked out at the start; at the end it may be another."""
        self._bench, self._say, self._commit = bench, say, commit
        self._values: dict[str, list[float]] = {}
        self._cases: dict[str, Case] = {}
        self._series: dict[str, Series] = {}
        self._missing: dict[str, str] = {}
        self._versions = machine.versions()
        #: Whether a case failed.
        self.failed = False

    def take(self, cases: Sequence[Case], *, repetitions: int) -> None:
        """Run the repeated cases in turn, then those that run once."""
        rounds = [
            [case for case in cases if case.most != 1 and number < (case.most or repetitions)]
            for number in range(repetitions)
        ]
        order = [*chain(*rounds), *[case for case in cases if case.most == 1]]
        progress = Progress(order)
        for case in order:
            began, place = time.monotonic(), progress.place
            if case.name not in self._missing:
                self._one(case, place)
            progress.advance(time.monotonic() - began)

    def results(self) -> Results:
        figures = tuple(
            Figure(
                name=name,
                unit=self._cases[name].unit_of(name),
                what=self._cases[name].what_of(name),
                values=tuple(values),
            )
            for name, values in self._values.items()
        )
        return Results(
            made_at=datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
            version=__version__,
            commit=self._commit,
            quick=self._bench.quick,
            machine=machine.described(self._bench.folder),
            versions=self._versions,
            figures=figures,
            series=tuple(self._series.values()),
            goals=judged(GOALS, figures),
            not_measured=tuple(
                Unmeasured(name=name, why=why) for name, why in self._missing.items()
            ),
        )

    def _one(self, case: Case, place: str, *, last_try: bool = False) -> None:
        began = time.monotonic()
        try:
            measured = case.run(self._bench)
            _check_names(case, measured)
        except NotMeasured as exc:
            self._missing[case.name] = str(exc)
            self._say(f"{place} {case.name}: not measured: {exc}")
            return
        except Exception as exc:  # noqa: BLE001 - an hour's run must not be lost to one case
            why = str(exc) if isinstance(exc, CaseFailed) else f"{type(exc).__name__}: {exc}"
            if not last_try:  # the machine may have stood still
                self._say(f"{place} {case.name}: failed, and is tried again: {why}")
                self._one(case, place, last_try=True)
                return
            self.failed = True
            self._missing[case.name] = f"failed: {why}"
            # Its earlier figures would have fewer repetitions than others.
            for name in [name for name, owner in self._cases.items() if owner is case]:
                del self._cases[name], self._values[name]
            self._say(f"{place} {case.name}: failed: {why}")
            return
        self._keep(case, measured)
        found = ", ".join(f"{name} {value:,.4g}" for name, value in measured.values.items())
        self._say(f"{place} {found} ({time.monotonic() - began:.0f} s)")

    def _keep(self, case: Case, measured: Measured) -> None:
        for name, value in measured.values.items():
            self._cases[name] = case
            self._values.setdefault(name, []).append(value)
        self._versions.update(measured.versions)
        for name, points in measured.series.items():
            x, y = case.axes
            self._series[name] = Series(name=name, x=x, y=y, points=tuple(points))


class Progress:
    """The position of a run and its remaining time."""

    def __init__(self, steps: Sequence[Case]) -> None:
        self._steps, self._done = steps, 0
        #: Seconds of the last repetition, by the name of the case.
        self._took: dict[str, float] = {}
        #: The same divided by the seconds that the case states.
        self._paces: dict[str, float] = {}

    @property
    def place(self) -> str:
        """The number of the next step, the number of steps, and the remaining time."""
        return f"[{self._done + 1}/{len(self._steps)}, {duration(self.left())} left]"

    def advance(self, seconds: float) -> None:
        """Count the next step, which took that long."""
        case = self._steps[self._done]
        self._took[case.name], self._paces[case.name] = seconds, seconds / case.seconds
        self._done += 1

    def left(self) -> float:
        """Estimate the remaining seconds.

        A case takes as long as last time. Before its first time it takes the seconds it states,
        multiplied by the pace of the others.
        """
        pace = statistics.median(self._paces.values()) if self._paces else 1.0
        rest = self._steps[self._done :]
        return sum(self._took.get(case.name, case.seconds * pace) for case in rest)


def duration(seconds: float) -> str:
    """Write a duration in minutes, or in seconds below two minutes."""
    if seconds < 120:  # noqa: PLR2004 - see above
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min"


def say(line: str) -> None:
    """Print progress to stderr; results go to stdout."""
    sys.stderr.write(f"{line}\n")
    sys.stderr.flush()


def _check_names(case: Case, measured: Measured) -> None:
    """Pages and goals use the names that cases declare. Raises CaseFailed."""
    for name in measured.values:
        if not case.finds(name):
            raise CaseFailed(f"{name} is not among its figures: {', '.join(case.named)}")
