"""The rate of durable accepts without traces, with them, and with a dead collector."""

import re

from ..case import Case, Measured
from ..lab.processes import Bench, CaseFailed
from ..lab.processor import Meter
from ..lab.receiver import receiving
from .accepting import IDLE, routes
from .delivering import CONNECTIONS

#: Port 9 refuses connections.
_DEAD = "http://127.0.0.1:9"
#: Spans that were sent, and those that were dropped.
_SPANS = re.compile(rb"(?m)^smshook_trace_spans_total\{.*\} (\d+)$")


def _tracing(bench: Bench) -> Measured:
    """Load the three in turn, so that a slow minute of the machine affects all."""
    with receiving() as receiver:
        collectors = {
            "tracing/off": None,
            "tracing/on": receiver.url,
            "tracing/dead": _DEAD,
        }
        values: dict[str, float] = {}
        for name, collector in collectors.items():
            values |= _accept(bench, name, collector)
    return Measured(values=values)


def _accept(bench: Bench, name: str, collector: str | None) -> dict[str, float]:
    """Return the rate, and the microseconds of an event. Raises CaseFailed."""
    more = f"tracing: {{endpoint: '{collector}', sample: 1}}" if collector else ""
    with bench.product(sinks=IDLE, routes=routes(1), more=more) as product:
        meter = Meter(product.pid)
        load = bench.load(product.callback(), connections=CONNECTIONS)
        events = product.check(load, connections=CONNECTIONS)
        found = meter.values(name, events)
        sent, dropped = map(int, _SPANS.findall(product.scrape()))
    if (collector is None) != (sent + dropped == 0) or (collector == _DEAD and sent):
        raise CaseFailed("the traces are not as the case says")
    return {name: load.rate, f"processor/{name}": found[f"processor/{name}"]}


CASES = (
    Case(
        name="tracing",
        what="callbacks a second that are durable and answered, without traces",
        whats={
            "tracing/on": "the same with traces of all events",
            "tracing/dead": "the same with a collector that does not answer",
        },
        figures=("tracing/off", "tracing/on", "tracing/dead", "processor/tracing/"),
        seconds=12,
        run=_tracing,
        quick=False,
    ),
)
