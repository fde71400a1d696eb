"""The processor time of an event with an audit log, and without."""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import NamedTuple

from ..case import Case, Measured
from ..lab.processes import Bench, CaseFailed, Product
from .accepting import IDLE, routes
from .in_turns import in_turns


class _Variant(NamedTuple):
    """What the product records, and how it is stored."""

    figure: str
    what: str
    record: str = "all"
    sealed: bool = False
    #: Replaces the command of the product.
    module: str | None = None


_VARIANTS = (
    _Variant(
        "auditing/off",
        "processor time of an accepted event without an audit log, in a journal in clear",
        record="access",
        module="benchmarks.lab.unaudited",
    ),
    _Variant("auditing/access", "the same with an audit log of access only", record="access"),
    _Variant("auditing/all", "the same with an audit log of everything"),
    _Variant("auditing/both", "the same in an encrypted journal", sealed=True),
)


def _auditing(bench: Bench) -> Measured:
    """Return the microseconds of an event. Raises CaseFailed.

    Mutant: the option is not passed on, so that `all` costs what `access` costs.
    """
    spent = in_turns(
        bench,
        {one.figure: partial(_running, bench, one) for one in _VARIANTS},
        form="scattered",
    )
    return Measured(values={name: one.processor for name, one in spent.items()})


@contextmanager
def _running(bench: Bench, variant: _Variant) -> Iterator[Product]:
    with bench.product(
        sinks=IDLE,
        routes=routes(1),
        sealed=variant.sealed,
        audit=f"{{record: {variant.record}}}",
        module=variant.module,
    ) as product:
        yield product
        events, lines = product.stats()["events"], product.audit_lines()
    if (lines > events) != (variant.record == "all") or (lines == 0) != (
        variant.module is not None
    ):
        raise CaseFailed(f"{variant.figure}: {lines} lines of {events} events")


CASES = (
    Case(
        name="auditing",
        what="processor time of an accepted event",
        unit="µs",
        whats={one.figure: one.what for one in _VARIANTS},
        figures=tuple(one.figure for one in _VARIANTS),
        seconds=20,
        run=_auditing,
        quick=False,
    ),
)
