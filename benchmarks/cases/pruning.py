"""The time from a callback to its answer while old events are removed."""

from ..case import Case, Measured
from ..lab.openloop import offered
from ..lab.percentiles import percentile_names, percentiles
from ..lab.processes import NO_RETENTION, Bench, CaseFailed
from .delivering import filled

_PERCENTILES = (50, 99)
_MILLION, _FEW = 1_000_000, 20_000
#: Callbacks a second: as in `latency/800`, or fewer on a machine that others use, too.
_RATE, _QUICK_RATE = 800, 200
#: All events of the journal are older: the last one is from an hour before.
_OLD = "{events: 30m, raw: null, attempts: null, quarantine: null}"
#: The numbers of the callbacks begin after those of the journal.
_ELSEWHERE = 5_000_000


def _pruning(bench: Bench) -> Measured:
    """Offer the same load with and without events to remove. The kept journal is not changed."""
    events, rate = (_FEW, _QUICK_RATE) if bench.quick else (_MILLION, _RATE)
    seconds = 2 * bench.seconds
    latencies: dict[str, list[float]] = {"without": [], "with": []}
    removed = 0
    # The disk is slower in some minutes than in others, so they take turns.
    for name in ("without", "with") * (1 if bench.quick else 2):
        retention = NO_RETENTION if name == "without" else _OLD
        with filled(bench, events, retention=retention) as product:
            product.prune()
            load = offered(product.callback(), rate=rate, seconds=seconds, first=_ELSEWHERE)
            latencies[name] += load.latencies
            removed = product.ask("/retention")["counts"].get("events", 0)
    if not removed:
        raise CaseFailed("no event was removed")
    return Measured(
        values={
            "pruning/removed": removed / seconds,
            **percentiles("pruning/without", latencies["without"], _PERCENTILES),
            **percentiles("pruning/with", latencies["with"], _PERCENTILES),
        }
    )


CASES = (
    Case(
        name="pruning",
        what="callback to answer, at a fixed rate, while a million old events are removed",
        unit="ms",
        whats={
            "pruning/without/": "the same without old events",
            "pruning/removed": "events removed meanwhile",
        },
        units={"pruning/removed": "1/s"},
        figures=(
            *percentile_names("pruning/without", _PERCENTILES),
            *percentile_names("pruning/with", _PERCENTILES),
            "pruning/removed",
        ),
        run=_pruning,
        seconds=44,
        most=3,
    ),
)
