"""The time from a callback to its answer, and to the arrival of its event."""

import statistics
from collections.abc import Sequence
from functools import partial

from ..case import Case, Measured
from ..lab.checkpoints import NOTES
from ..lab.machine import fdatasync, mapped, watch_memory
from ..lab.openloop import LoadResult, offered
from ..lab.percentiles import percentile, percentile_names, percentiles
from ..lab.processes import Bench, CaseFailed, Product
from ..lab.processor import Meter
from ..lab.receiver import Receiver, receiving
from .delivering import CONNECTIONS, HANGS, http, piped, settled, to, two

#: Callbacks a second: so few that none waits for another.
_IDLE = 10
#: Half the capacity of smshook in November 2026: versions are compared at the same load.
_FIXED = 800
#: The number of the first callback after those that measured the capacity.
_ELSEWHERE = 5_000_000
#: Percentiles of the curve that is drawn.
_DRAWN = (*range(99), 99, 99.5, 99.9)


def _through(result: LoadResult, product: Product, receiver: Receiver) -> list[float]:
    """Return milliseconds, sorted: from the due time of each callback to its event's arrival."""
    product.await_settled()
    arrivals = receiver.arrivals()
    missing = [one.request_id for one in result.sent if one.request_id not in arrivals]
    if missing:
        raise CaseFailed(f"{len(missing)} events of {len(result.sent)} did not arrive")
    return sorted((arrivals[one.request_id] - one.due) * 1000 for one in result.sent)


def _drawn(ordered: list[float]) -> Sequence[tuple[float, float]]:
    return [(wanted, percentile(ordered, wanted)) for wanted in _DRAWN]


def _idle(bench: Bench) -> Measured:
    disk = fdatasync(bench.folder)
    with piped(bench, "timed") as (product, receiver):
        meter, seconds = Meter(product.pid), 5 if bench.quick else 10
        result = offered(product.callback(), rate=_IDLE, seconds=seconds, first=_ELSEWHERE)
        found = meter.values("latency/idle", len(result.sent))
        through = _through(result, product, receiver)
    return Measured(values={"fdatasync": disk, **percentiles("latency/idle", through), **found})


def _offered(bench: Bench, *, name: str, rate: float | None) -> Measured:
    """Offer `rate`, or half the capacity, to smshook and then to the bare app."""
    seconds = (2 if bench.quick else 3) * bench.seconds
    with piped(bench, "timed") as (product, receiver):
        if rate is None:
            rate = settled(bench, product, sinks=1).rate / 2
        meter = Meter(product.pid)
        result = offered(product.callback(), rate=rate, seconds=seconds, first=_ELSEWHERE)
        through = _through(result, product, receiver)
        found = meter.values(name, len(result.sent))
    with bench.floor() as (url, _):
        bare = offered(url, rate=rate, seconds=seconds).latencies
    return Measured(
        values={
            f"{name}/rate": rate,
            **percentiles(f"{name}/answer", result.latencies),
            **percentiles(f"{name}/through", through),
            **percentiles(f"{name}/bare", bare),
            **found,
        },
        series={
            f"{name}/answer": _drawn(result.latencies),
            f"{name}/through": _drawn(through),
            f"{name}/bare": _drawn(bare),
        },
    )


def _storm(bench: Bench) -> Measured:
    """Send each callback eight times: copies must be answered as fast as others."""
    with piped(bench, "timed") as (product, receiver):
        rate = settled(bench, product, sinks=1).rate / 2
        before = product.at_rest()
        product.await_settled()
        delivered = receiver.count
        meter, seconds = Meter(product.pid), 4 * bench.seconds
        result = offered(product.callback(), rate=rate, seconds=seconds, each=8, first=_ELSEWHERE)
        product.await_settled()
        found = meter.values("latency/storm", len(result.sent))
        distinct = len({one.request_id for one in result.sent})
        growth = product.check_copies(len(result.sent), before=before, in_flight=0)
        if (growth.events, receiver.count - delivered) != (distinct, distinct):
            raise CaseFailed(
                f"{distinct} callbacks became {growth.events} events, and"
                f" {receiver.count - delivered} of them were delivered"
            )
    return Measured(values={**percentiles("latency/storm/answer", result.latencies), **found})


def _hanging(bench: Bench) -> Measured:
    """One of two sinks never answers; the capacity is that of the other."""
    with two(bench, second=HANGS) as product:
        rate = settled(bench, product, sinks=1).rate / 2
        before = product.at_rest()
        meter, seconds = Meter(product.pid), 4 * bench.seconds
        result = offered(product.callback(), rate=rate, seconds=seconds, first=_ELSEWHERE)
        found = meter.values("latency/hanging", len(result.sent))
        growth = product.check_copies(len(result.sent), before=before, in_flight=0)
    if growth.duplicates:
        raise CaseFailed(f"callbacks sent once became {growth.duplicates} duplicates")
    return Measured(values={**percentiles("latency/hanging/answer", result.latencies), **found})


def _checkpoints(bench: Bench, *, name: str, rate: float | None) -> Measured:
    """Offer `rate`, or as much as is answered, and note how long each checkpoint takes."""
    with (
        receiving() as receiver,
        bench.product(
            sinks=http({"app": receiver.url}),
            routes=to("app"),
            module="benchmarks.lab.checkpoints",
        ) as product,
    ):
        if rate is None:
            load = bench.load(
                product.callback(), connections=CONNECTIONS, seconds=4 * bench.seconds
            )
            product.check(load, connections=CONNECTIONS)
        else:
            offered(product.callback(), rate=rate, seconds=4 * bench.seconds)
        product.await_settled()
        notes = product.folder / NOTES
        held = [float(line) for line in notes.read_text().split()] if notes.exists() else []
    if not held:
        raise CaseFailed("the load was too short for a checkpoint")
    return Measured(
        values={
            f"{name}/number": len(held),
            f"{name}/median": statistics.median(held),
            f"{name}/slowest": max(held),
        }
    )


def _memory(bench: Bench) -> Measured:
    with piped(bench) as (product, _):
        rate = settled(bench, product, sinks=1).rate / 2
        meter, seconds = Meter(product.pid), 20 if bench.quick else 600
        memory = watch_memory(
            product.memory,
            lambda: offered(product.callback(), rate=rate, seconds=seconds, first=_ELSEWHERE),
            kinds=partial(mapped, product.pid),
        )
        found = meter.values("memory", round(rate * seconds))
    return Measured(
        values={
            "memory/slope": memory.slope,
            "memory/most": memory.most,
            "memory/rate": rate,
            **{f"memory/grew/{kind}": slope for kind, slope in memory.grew.items()},
            **found,
        },
        series={"memory": memory.points},
    )


_MS = ("percentile", "milliseconds")

CASES = (
    Case(
        name="latency/idle",
        what="callback to delivery, at ten callbacks a second",
        whats={"fdatasync": "appending one page to a file on the same disk, and syncing it"},
        unit="ms",
        figures=("fdatasync", *percentile_names("latency/idle")),
        metered=True,
        seconds=13,
        run=_idle,
    ),
    *(
        Case(
            name=name,
            what=f"offered load: {words}",
            unit="ms",
            whats={
                f"{name}/answer": f"callback to answer, at {words}",
                f"{name}/through": f"callback to delivery, at {words}",
                f"{name}/bare": f"answer of the bare app at the same rate: {words}",
            },
            units={f"{name}/rate": "1/s"},
            figures=(
                f"{name}/rate",
                *percentile_names(f"{name}/answer"),
                *percentile_names(f"{name}/through"),
                *percentile_names(f"{name}/bare"),
            ),
            axes=_MS,
            metered=True,
            seconds=seconds,
            run=partial(_offered, name=name, rate=rate),
            quick=rate is not None,
        )
        for name, words, rate, seconds in (
            (f"latency/{_FIXED}", f"{_FIXED} callbacks a second", _FIXED, 21),
            ("latency/half", f"half the capacity with {CONNECTIONS} connections", None, 25),
        )
    ),
    Case(
        name="latency/storm",
        what="callback to answer, at half the capacity, each callback sent eight times",
        unit="ms",
        figures=percentile_names("latency/storm/answer"),
        metered=True,
        seconds=17,
        run=_storm,
        most=1,
        quick=False,
    ),
    Case(
        name="latency/hanging",
        what="callback to answer, at half the capacity, while one of two http sinks never answers",
        unit="ms",
        figures=percentile_names("latency/hanging/answer"),
        metered=True,
        seconds=17,
        run=_hanging,
        most=1,
        quick=False,
    ),
    *(
        Case(
            name=name,
            what=f"a commit and the checkpoint before it, {words}",
            unit="ms",
            whats={f"{name}/number": f"checkpoints, {words}"},
            units={f"{name}/number": "checkpoints"},
            figures=(f"{name}/number", f"{name}/median", f"{name}/slowest"),
            seconds=12,
            run=partial(_checkpoints, name=name, rate=rate),
            most=1,
            quick=False,
        )
        for name, words, rate in (
            ("checkpoint/full", f"at full load with {CONNECTIONS} connections", None),
            (f"checkpoint/{_FIXED}", f"at {_FIXED} callbacks a second", _FIXED),
        )
    ),
    Case(
        name="memory",
        what="most resident memory in ten minutes at half the capacity",
        unit="MB",
        whats={
            "memory/slope": "growth of resident memory, in the second half of ten minutes",
            "memory/grew/": "growth of one kind of memory, in the second half of ten minutes",
            "memory/rate": "offered load while memory is watched: half the capacity",
        },
        units={"memory/slope": "KB/min", "memory/grew/": "KB/min", "memory/rate": "1/s"},
        figures=("memory/slope", "memory/most", "memory/rate", "memory/grew/"),
        axes=("seconds", "megabytes"),
        metered=True,
        seconds=612,
        run=_memory,
        most=1,
        quick=False,
    ),
)
