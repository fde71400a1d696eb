"""The processor time of an event in an encrypted journal, and in one in clear."""

from ..case import Case, Measured
from ..lab.processes import Bench, CaseFailed
from ..lab.processor import Meter
from ..lab.receiver import receiving
from .accepting import IDLE, routes
from .delivering import CONNECTIONS, http, to

#: In turn, so that a slow minute of the machine affects both.
_ACCEPTED = (("sealing/accept/clear", False), ("sealing/accept/sealed", True))
_DELIVERED = (("sealing/http/sealed", True), ("sealing/http/clear", False))


def _sealing(bench: Bench) -> Measured:
    values = {name: _processor(bench, IDLE, routes(1), sealed=sealed) for name, sealed in _ACCEPTED}
    with receiving() as receiver:
        sinks = http({"app": receiver.url})
        values |= {
            name: _processor(bench, sinks, to("app"), sealed=sealed) for name, sealed in _DELIVERED
        }
    return Measured(values=values)


def _processor(bench: Bench, sinks: str, routes: str, *, sealed: bool) -> float:
    """Return the microseconds of an event, until it is settled. Raises CaseFailed."""
    with bench.product(sinks=sinks, routes=routes, sealed=sealed) as product:
        # Without `seal`, the file has the keys of the audit log only.
        if (b"\nraw " in (product.folder / "smshook.keys").read_bytes()) != sealed:
            raise CaseFailed("the journal is not as the case says")
        meter = Meter(product.pid)
        load = bench.load(product.callback(), connections=CONNECTIONS, form="scattered")
        events = product.check(load, connections=CONNECTIONS)
        product.await_settled()
        return meter.values("", events)["processor/"]


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
        figures=tuple(name for name, _ in (*_ACCEPTED, *_DELIVERED)),
        seconds=20,
        run=_sealing,
        quick=False,
    ),
)
