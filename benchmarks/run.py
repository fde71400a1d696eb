"""One run: every case in each repetition, so that all of them meet the same machine."""

import sys
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime

from server import __version__

from . import machine
from .bench import Bench, Failed
from .case import Case, Measured, NotMeasured
from .goals import GOALS, judged
from .progress import Progress
from .results import Figure, Results, Series
from .results import NotMeasured as Missing

Say = Callable[[str], None]


class Run:
    """Gathers what the cases find."""

    def __init__(self, bench: Bench, say: Say, *, commit: str) -> None:
        """`commit` is what was checked out before the first step: it may be another at the end."""
        self._bench, self._say, self._commit = bench, say, commit
        self._values: dict[str, list[float]] = {}
        self._cases: dict[str, Case] = {}
        self._series: dict[str, Series] = {}
        self._missing: dict[str, str] = {}
        self._versions = machine.versions()
        #: A case did not measure what it says.
        self.failed = False

    def take(self, cases: Sequence[Case], *, repetitions: int) -> None:
        """All that repeat, in turn; then those that are run once."""
        repeated = [case for case in cases if not case.once]
        once = [case for case in cases if case.once]
        order = [*repeated * repetitions, *once]
        progress = Progress(order)
        for case in order:
            began, place = time.monotonic(), progress.place
            if case.name not in self._missing:
                self._one(case, place)
            progress.took(time.monotonic() - began)

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
        named = {figure.name: figure for figure in figures}
        return Results(
            made_at=datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
            version=__version__,
            commit=self._commit,
            quick=self._bench.quick,
            machine=machine.described(self._bench.folder),
            versions=self._versions,
            figures=figures,
            series=tuple(self._series.values()),
            goals=tuple(judged(GOALS, named)),
            not_measured=tuple(Missing(name=name, why=why) for name, why in self._missing.items()),
        )

    def _one(self, case: Case, place: str) -> None:
        began = time.monotonic()
        try:
            measured = _own(case, case.run(self._bench))
        except NotMeasured as exc:
            self._missing[case.name] = str(exc)
            self._say(f"{place} {case.name}: not measured: {exc}")
            return
        except Exception as exc:  # noqa: BLE001 - an hour's run must not be lost to one case
            why = str(exc) if isinstance(exc, Failed) else f"{type(exc).__name__}: {exc}"
            self.failed = True
            self._forget(case, why)
            self._say(f"{place} {case.name}: failed: {why}")
            return
        self._keep(case, measured)
        said = ", ".join(f"{name} {value:,.4g}" for name, value in measured.values.items())
        self._say(f"{place} {said} ({time.monotonic() - began:.0f} s)")

    def _forget(self, case: Case, why: str) -> None:
        """What it measured before counts no more: its figures would be of other repetitions."""
        self._missing[case.name] = f"failed: {why}"
        for name in [name for name, of in self._cases.items() if of is case]:
            del self._cases[name], self._values[name]

    def _keep(self, case: Case, measured: Measured) -> None:
        for name, value in measured.values.items():
            self._cases[name] = case
            self._values.setdefault(name, []).append(value)
        self._versions.update(measured.versions)
        for name, points in measured.series.items():
            x, y = case.axes
            self._series[name] = Series(name=name, x=x, y=y, points=tuple(points))


def _own(case: Case, measured: Measured) -> Measured:
    """What pages and goals name is what cases say that they find. Raises Failed."""
    for name in measured.values:
        if not case.finds(name):
            raise Failed(f"{name} is not among its figures: {', '.join(case.named)}")
    return measured


def say(line: str) -> None:
    """Progress is for whoever waits; results go to stdout."""
    sys.stderr.write(f"{line}\n")
    sys.stderr.flush()
