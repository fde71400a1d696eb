"""What the machine and the bare app do to a latency before smshook is asked."""

from .. import stalls
from ..bench import Bench
from ..case import Case, Measured
from ..openloop import offered
from ..percentiles import percentile

#: A second: nobody waits for anybody; and as much as the open loop can send in time on a machine
#: that stands still now and then.
_IDLE, _BUSY = 10, 300


def _answers(bench: Bench) -> Measured:
    with bench.floor() as (url, _):
        idle = offered(url, rate=_IDLE, seconds=4 if bench.quick else 10).latencies
        busy = offered(url, rate=_BUSY, seconds=3 if bench.quick else 8).latencies
    return Measured(
        values={
            "bare/idle/p50": percentile(idle, 50),
            "bare/busy/p50": percentile(busy, 50),
            "bare/busy/p99": percentile(busy, 99),
        }
    )


def _steady(bench: Bench) -> Measured:
    seen = stalls.watched(3 if bench.quick else 10)
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
        seconds=20.0,
    ),
    Case(
        name="machine",
        what="a program that only counts: how long it was held up, of the time and at most",
        unit="%",
        units={"machine/stalled/longest": "ms"},
        figures=("machine/stalled", "machine/stalled/longest"),
        run=_steady,
        seconds=10.0,
    ),
)
