"""The latency that the machine and a bare app have without smshook."""

from ..case import Case, Measured
from ..lab.machine import watch_stalls
from ..lab.openloop import offered
from ..lab.percentiles import percentile
from ..lab.processes import Bench

#: Requests a second: so few that none waits for another, and as many as the open loop can send in
#: time on a machine that sometimes stands still.
_IDLE, _BUSY = 10, 300


def _answers(bench: Bench) -> Measured:
    with bench.floor() as (url, _):
        idle = offered(url, rate=_IDLE, seconds=4 if bench.quick else 6).latencies
        busy = offered(url, rate=_BUSY, seconds=3 if bench.quick else 5).latencies
    return Measured(
        values={
            "bare/idle/p50": percentile(idle, 50),
            "bare/busy/p50": percentile(busy, 50),
            "bare/busy/p99": percentile(busy, 99),
        }
    )


def _steady(bench: Bench) -> Measured:
    seen = watch_stalls(3 if bench.quick else 10)
    return Measured(
        values={"machine/stalled": seen.share * 100, "machine/stalled/longest": seen.longest}
    )


CASES = (
    Case(
        name="bare",
        what=f"answers of the bare app at {_IDLE} requests a second (idle) and {_BUSY} (busy)",
        unit="ms",
        figures=("bare/idle/p50", "bare/busy/p50", "bare/busy/p99"),
        run=_answers,
        seconds=12.0,
        most=3,
        quick=False,
    ),
    Case(
        name="machine",
        what="share of the time in which a program that only counts was held up",
        unit="%",
        whats={"machine/stalled/longest": "longest time that this program was held up"},
        units={"machine/stalled/longest": "ms"},
        figures=("machine/stalled", "machine/stalled/longest"),
        run=_steady,
        seconds=10.0,
        most=3,
        quick=False,
    ),
)
