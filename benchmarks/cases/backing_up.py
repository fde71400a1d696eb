"""The cost of a backup for the callbacks that come meanwhile."""

import statistics
import threading
import time
from collections.abc import Callable

from ..case import Case, Measured
from ..lab.openloop import offered
from ..lab.percentiles import percentile
from ..lab.processes import NO_RETENTION, Bench, Product, meanwhile
from .delivering import CONNECTIONS, filled

_MILLION, _FEW = 1_000_000, 20_000
#: Callbacks a second. A backup keeps one of two processors busy; the generator must not be late.
_RATE, _QUICK_RATE = 400, 100
_PERCENTILES = (50, 99)
#: The seconds of an hour.
_HOUR = 3600.0
#: The numbers of the callbacks begin after those of the journal.
_ELSEWHERE = 5_000_000


def _backup(bench: Bench) -> Measured:
    """Back up again and again for a while; measure before, meanwhile and after."""
    events = _FEW if bench.quick else _MILLION
    took: list[float] = []
    found: dict[str, list[tuple[float, list[float]]]] = {"without": [], "with": []}
    with filled(bench, events, retention=NO_RETENTION) as product:
        measure = _measuring(bench, product)
        found["without"].append(measure(1))
        ended = threading.Event()

        def back_up() -> None:
            while not ended.is_set():
                began = time.monotonic()
                product.back_up(bench.python.with_name("smshook"), product.folder / "backup.db")
                took.append(time.monotonic() - began)

        with meanwhile(back_up):
            try:
                found["with"] += [measure(2), measure(3)]
            finally:
                ended.set()
        found["without"].append(measure(4))
    rates = {
        name: statistics.mean(rate for rate, _ in measured) for name, measured in found.items()
    }
    lost = (1 - rates["with"] / rates["without"]) * statistics.mean(took) / _HOUR
    return Measured(
        values={
            "backup/took": statistics.mean(took),
            "backup/hourly": 1 - lost,
            **{f"backup/{name}/rate": rate for name, rate in rates.items()},
            **{
                f"backup/{name}/p{wanted}": percentile(
                    [one for _, latencies in measured for one in latencies], wanted
                )
                for name, measured in found.items()
                for wanted in _PERCENTILES
            },
        }
    )


def _measuring(bench: Bench, product: Product) -> Callable[[int], tuple[float, list[float]]]:
    rate = _QUICK_RATE if bench.quick else _RATE

    def measure(turn: int) -> tuple[float, list[float]]:
        """Return accepts a second as fast as possible, and the latencies at a fixed rate."""
        first = _ELSEWHERE + 500_000 * turn
        load = bench.load(product.callback(), connections=CONNECTIONS, first=first)
        product.await_settled()
        seconds = 1.5 * bench.seconds
        result = offered(product.callback(), rate=rate, seconds=seconds, first=first + 250_000)
        product.await_settled()
        return load.rate, result.latencies

    return measure


CASES = (
    Case(
        name="backup",
        what="callback to answer, at a fixed rate, while backups of a million events are made",
        unit="ms",
        whats={
            "backup/took": "a backup of a million events, meanwhile",
            "backup/hourly": "rate of accepts with a backup each hour, divided by that without",
            "backup/with/rate": "accepted, delivered by one http sink, while backups are made",
            "backup/without/rate": "the same without backups",
            "backup/without/": "callback to answer, at a fixed rate, without backups",
        },
        units={
            "backup/took": "s",
            "backup/hourly": "",
            "backup/with/rate": "1/s",
            "backup/without/rate": "1/s",
        },
        figures=(
            "backup/took",
            "backup/hourly",
            *(
                f"backup/{name}/{what}"
                for name in ("with", "without")
                for what in ("rate", *(f"p{wanted}" for wanted in _PERCENTILES))
            ),
        ),
        seconds=60,
        run=_backup,
        most=1,
        quick=False,
    ),
)
