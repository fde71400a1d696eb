"""The processor time of an event in an encrypted journal, and in one in clear."""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial

from ..case import Case, Measured
from ..lab.processes import Bench, CaseFailed, Product
from ..lab.receiver import receiving
from .accepting import IDLE, routes
from .delivering import http, to
from .in_turns import in_turns

_ACCEPTED = {"sealing/accept/clear": False, "sealing/accept/sealed": True}
_DELIVERED = {"sealing/http/clear": False, "sealing/http/sealed": True}


def _sealing(bench: Bench) -> Measured:
    values = _processor(bench, _ACCEPTED, IDLE, routes(1))
    with receiving() as receiver:
        values |= _processor(bench, _DELIVERED, http({"app": receiver.url}), to("app"))
    return Measured(values=values)


def _processor(
    bench: Bench, variants: dict[str, bool], sinks: str, routes: str
) -> dict[str, float]:
    """Return the microseconds of an event, until it is settled. Raises CaseFailed."""
    spent = in_turns(
        bench,
        {name: partial(_running, bench, sinks, routes, sealed=it) for name, it in variants.items()},
        form="scattered",
    )
    return {name: one.processor for name, one in spent.items()}


@contextmanager
def _running(bench: Bench, sinks: str, routes: str, *, sealed: bool) -> Iterator[Product]:
    with bench.product(sinks=sinks, routes=routes, sealed=sealed) as product:
        # Without `seal`, the file has the keys of the audit log only.
        if (b"\nraw " in (product.folder / "smshook.keys").read_bytes()) != sealed:
            raise CaseFailed("the journal is not as the case says")
        yield product


CASES = (
    Case(
        name="sealing",
        what="processor time of an event: accepted, in a journal in clear",
        unit="µs",
        whats={
            "sealing/accept/sealed": "the same in an encrypted journal",
            "sealing/http/clear": "processor time of an event through one http sink, in clear",
            "sealing/http/sealed": "the same with an encrypted journal",
        },
        figures=(*_ACCEPTED, *_DELIVERED),
        seconds=20,
        run=_sealing,
        quick=False,
    ),
)
