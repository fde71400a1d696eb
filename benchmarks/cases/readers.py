"""Many readers: their memory, the time until they are answered, and the cost for the door."""

import statistics
import time
from functools import partial

from ..case import Case, Measured
from ..lab.percentiles import percentile_names, percentiles
from ..lab.processes import Bench, CaseFailed
from ..lab.processor import Meter, used
from ..lab.readers import reading
from .accepting import IDLE, routes

WAITS, STREAMS = 5_000, 500
#: The turns of a load with readers and of one without, and the seconds of each. The speed of a
#: machine changes within seconds.
_TURNS, _TURN = 10, 0.5
#: The difference between the first numbers of two turns, so that no callback comes twice.
_APART = 100_000
#: Callbacks a second that waits are waiting for.
_RATE = 400
#: The number of the first reader's phone: beyond those of the load.
_FIRST = 5_000_000
#: Seconds until all waits must be waiting.
_OPENING = 30.0
#: Seconds between two looks at a process, and the share of a processor of one that does nothing.
_LOOK, _RESTS = 0.5, 0.05


def _readers(bench: Bench) -> Measured:
    start = partial(bench.product, sinks=IDLE, routes=routes(1))
    with start() as other, start() as product:
        for one in (other, product):  # to be warm: that memory counts to no reader
            bench.load(one.callback(), connections=64, seconds=_TURN)
        product.at_rest()
        before = product.memory()
        admin = f"http://127.0.0.1:{product.admin_port}"
        with reading(
            [admin, product.key, product.callback(), WAITS, STREAMS, _FIRST, _RATE]
        ) as readers:
            _await_rest(product.pid)  # the last waits have been sent, but may not wait yet
            memory = (product.memory() - before) * 1000 / (WAITS + STREAMS)
            meter = Meter(product.pid)
            rates: dict[int, list[float]] = {other.pid: [], product.pid: []}
            events = 0
            for turn in range(1, _TURNS + 1):
                # Neither is always measured after the other.
                for one in (other, product) if turn % 2 else (product, other):
                    stored = int(one.at_rest()["events"])
                    load = bench.load(
                        one.callback(), connections=64, first=turn * _APART, seconds=_TURN
                    )
                    accepted = one.check(load, connections=64, before=stored)
                    events += accepted if one is product else 0
                    rates[one.pid].append(load.rate)
            found = meter.values("readers/accept", events)
            result = readers.measure()
    if (len(result.whole), result.streamed) != (WAITS, STREAMS):
        raise CaseFailed(f"{len(result.whole)} waits and {result.streamed} streams got an event")
    return Measured(
        values={
            "readers/accept": statistics.fmean(rates[product.pid]),
            "readers/without": statistics.fmean(rates[other.pid]),
            "readers/memory": memory,
            **percentiles("readers/answer", result.after_commit),
            **percentiles("readers/whole", result.whole),
            **found,
        }
    )


def _await_rest(pid: int) -> None:
    """Wait until a process does nothing. Raises CaseFailed."""
    until = time.monotonic() + _OPENING
    while time.monotonic() < until:
        before = used(pid).whole
        time.sleep(_LOOK)
        if used(pid).whole - before < _RESTS * _LOOK:
            return
    raise CaseFailed(f"the readers were not open within {_OPENING:.0f} s")


_KIND = f"{WAITS:,} waits and {STREAMS} streams"

CASES = (
    Case(
        name="readers/accept",
        what=f"TellABot's form accepted and durable beside {_KIND}, 64 connections, 1 route",
        whats={
            "readers/without": "the same of a process without readers, in turns with the other",
            "readers/memory": f"resident memory of a reader, of {_KIND}",
            "readers/answer": f"answer to a callback to the answer of its wait, of {_KIND}",
            "readers/whole": f"callback to the answer of its wait, of {_KIND}",
        },
        units={"readers/memory": "KB", "readers/answer": "ms", "readers/whole": "ms"},
        figures=(
            "readers/accept",
            "readers/without",
            "readers/memory",
            *percentile_names("readers/answer"),
            *percentile_names("readers/whole"),
        ),
        run=_readers,
        seconds=38,
        most=1,
        quick=False,
        metered=True,
    ),
)
