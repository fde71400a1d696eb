"""The rate of durable accepts without traces, with them, and with a dead collector."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial

from ..case import Case, Measured
from ..lab.processes import Bench, CaseFailed, Product
from ..lab.receiver import receiving
from .accepting import IDLE, routes
from .in_turns import in_turns

#: Port 9 refuses connections.
_DEAD = "http://127.0.0.1:9"
#: Seconds of a turn. A collector that does not answer costs a third of a microsecond an event: the
#: shorter the turns, the less the machine differs between them.
_TURN = 0.25
#: Spans that were sent, and those that were dropped.
_SPANS = re.compile(rb"(?m)^smshook_trace_spans_total\{.*\} (\d+)$")


def _tracing(bench: Bench) -> Measured:
    with receiving() as receiver:
        collectors = {"tracing/off": None, "tracing/on": receiver.url, "tracing/dead": _DEAD}
        spent = in_turns(
            bench,
            {name: partial(_running, bench, url) for name, url in collectors.items()},
            times=1 if bench.quick else 4,
            turn=_TURN,
        )
    return Measured(
        values={
            **{name: one.rate for name, one in spent.items()},
            **{f"processor/{name}": one.processor for name, one in spent.items()},
        }
    )


@contextmanager
def _running(bench: Bench, collector: str | None) -> Iterator[Product]:
    more = f"tracing: {{endpoint: '{collector}', sample: 1}}" if collector else ""
    with bench.product(sinks=IDLE, routes=routes(1), more=more) as product:
        yield product
        sent, dropped = map(int, _SPANS.findall(product.scrape()))
    if (collector is None) != (sent + dropped == 0) or (collector == _DEAD and sent):
        raise CaseFailed("the traces are not as the case says")


CASES = (
    Case(
        name="tracing",
        what="callbacks a second that are durable and answered, without traces",
        whats={
            "tracing/on": "the same with traces of all events",
            "tracing/dead": "the same with a collector that does not answer",
        },
        figures=("tracing/off", "tracing/on", "tracing/dead", "processor/tracing/"),
        seconds=57,
        most=3,
        run=_tracing,
        quick=False,
    ),
)
