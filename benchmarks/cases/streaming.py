"""Streams of codes in clear at a high rate, and the lines of the audit log about them."""

import time
from datetime import datetime

from ..case import Case, Measured
from ..lab.openloop import offered
from ..lab.percentiles import percentile_names, percentiles
from ..lab.processes import Bench, CaseFailed, Product
from ..lab.processor import Meter
from ..lab.streams import streaming
from .accepting import IDLE, routes

_STREAMS = 20
#: Callbacks a second. Each becomes an event that each stream gets.
_RATE, _QUICK_RATE = 1_000, 200
#: Seconds for the last events to come, and for the lines about them.
_LAST = 3.0
_PERCENTILES = (50, 99)


def _streaming(bench: Bench) -> Measured:
    """Each stream has to get each event. Raises CaseFailed."""
    rate, seconds = _QUICK_RATE if bench.quick else _RATE, 3 * bench.seconds
    with (
        bench.product(sinks=IDLE, routes=routes(1), sealed=True, audit="{record: all}") as product,
        streaming(product, _STREAMS) as streams,
    ):
        meter = Meter(product.pid)
        load = offered(product.callback(), rate=rate, seconds=seconds)
        time.sleep(_LAST)
        values = meter.values("streaming", len(load.sent))
        if {stream.events for stream in streams} != {len(load.sent)}:
            raise CaseFailed(f"of {len(load.sent)} events, a stream did not get each once")
        lines = _lines_a_second(product)
    slowest = max(stream.last for stream in streams) - min(one.due for one in load.sent)
    return Measured(
        values={
            "streaming/events": len(load.sent) / slowest,
            "streaming/lines": lines,
            **percentiles("streaming/answer", load.latencies, _PERCENTILES),
            **values,
        }
    )


def _lines_a_second(product: Product) -> float:
    """Return the lines about readings a second, from the first to the last."""
    found = product.ask("/audit?do=code.read&limit=500")["data"]
    times = [datetime.fromisoformat(one["leaf"]["at"]) for one in found]
    # The lines of one moment stand for the second before it.
    later = [at for at in times if at > min(times)]
    return len(later) / (max(times) - min(times)).total_seconds()


CASES = (
    Case(
        name="streaming",
        what=f"callback to answer beside {_STREAMS} streams of codes in clear, "
        f"at {_RATE:,} callbacks a second",
        unit="ms",
        whats={
            "streaming/events": f"events that each of {_STREAMS} streams got a second",
            "streaming/lines": f"lines of the audit log about the {_STREAMS} streams a second",
        },
        units={"streaming/events": "1/s", "streaming/lines": "1/s"},
        figures=(
            "streaming/events",
            "streaming/lines",
            *percentile_names("streaming/answer", _PERCENTILES),
        ),
        metered=True,
        seconds=15,
        run=_streaming,
        most=3,
    ),
)
