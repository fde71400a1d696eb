"""The time from a callback to its answer, and to the arrival of its event."""

from collections.abc import Sequence

from ..case import Case, Measured
from ..lab.machine import fdatasync, watch_memory
from ..lab.openloop import LoadResult, offered
from ..lab.percentiles import percentile
from ..lab.processes import Bench, CaseFailed, Product
from ..lab.receiver import Receiver
from .delivering import CONNECTIONS, HANGS, piped, settled, two

_PERCENTILES = (50, 90, 99, 99.9)
#: Callbacks a second: so few that none waits for another.
_IDLE = 10
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


def _percentiles(name: str, ordered: list[float]) -> dict[str, float]:
    found = [percentile(ordered, wanted) for wanted in _PERCENTILES]
    return dict(zip(_named(name), found, strict=True))


def _named(name: str) -> tuple[str, ...]:
    return tuple(f"{name}/p{wanted:g}" for wanted in _PERCENTILES)


def _drawn(ordered: list[float]) -> Sequence[tuple[float, float]]:
    return [(wanted, percentile(ordered, wanted)) for wanted in _DRAWN]


def _at_half(bench: Bench, product: Product, capacity: float, *, each: int = 1) -> LoadResult:
    """Offer half of that many events a second."""
    return offered(
        product.callback(),
        rate=capacity / 2,
        seconds=4 * bench.seconds,
        each=each,
        first=_ELSEWHERE,
    )


def _idle(bench: Bench) -> Measured:
    disk = fdatasync(bench.folder)
    with piped(bench, "timed") as (product, receiver):
        seconds = 5 if bench.quick else 10
        result = offered(product.callback(), rate=_IDLE, seconds=seconds, first=_ELSEWHERE)
        through = _through(result, product, receiver)
    return Measured(values={"fdatasync": disk, **_percentiles("latency/idle", through)})


def _half(bench: Bench) -> Measured:
    with piped(bench, "timed") as (product, receiver):
        capacity = settled(bench, product, sinks=1).rate
        result = _at_half(bench, product, capacity)
        answers, through = result.latencies, _through(result, product, receiver)
    return Measured(
        values={
            "latency/half/rate": capacity / 2,
            **_percentiles("latency/half/answer", answers),
            **_percentiles("latency/half/through", through),
        },
        series={
            "latency/half/answer": _drawn(answers),
            "latency/half/through": _drawn(through),
        },
    )


def _storm(bench: Bench) -> Measured:
    """Send each callback eight times: copies must be answered as fast as others."""
    with piped(bench, "timed") as (product, receiver):
        capacity = settled(bench, product, sinks=1).rate
        delivered, before = receiver.count, product.at_rest()
        result = _at_half(bench, product, capacity, each=8)
        product.await_settled()
        distinct = len({one.request_id for one in result.sent})
        growth = product.check_copies(len(result.sent), before=before, in_flight=0)
        if (growth.events, receiver.count - delivered) != (distinct, distinct):
            raise CaseFailed(
                f"{distinct} callbacks became {growth.events} events, and"
                f" {receiver.count - delivered} of them were delivered"
            )
    return Measured(values=_percentiles("latency/storm/answer", result.latencies))


def _hanging(bench: Bench) -> Measured:
    """One of two sinks never answers; the capacity is that of the other."""
    with two(bench, second=HANGS) as product:
        capacity = settled(bench, product, sinks=1).rate
        before = product.at_rest()
        result = _at_half(bench, product, capacity)
        growth = product.check_copies(len(result.sent), before=before, in_flight=0)
    if growth.duplicates:
        raise CaseFailed(f"callbacks sent once became {growth.duplicates} duplicates")
    return Measured(values=_percentiles("latency/hanging/answer", result.latencies))


def _memory(bench: Bench) -> Measured:
    with piped(bench) as (product, _):
        capacity = settled(bench, product, sinks=1).rate
        seconds = 20 if bench.quick else 600
        memory = watch_memory(
            product.memory,
            lambda: offered(
                product.callback(), rate=capacity / 2, seconds=seconds, first=_ELSEWHERE
            ),
        )
    return Measured(
        values={
            "memory/slope": memory.slope,
            "memory/most": memory.most,
            "memory/rate": capacity / 2,
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
        figures=("fdatasync", *_named("latency/idle")),
        seconds=13,
        run=_idle,
    ),
    Case(
        name="latency/half",
        what=f"offered load: half the capacity, measured with {CONNECTIONS} connections",
        unit="ms",
        whats={
            "latency/half/answer": "callback to answer, at half the capacity",
            "latency/half/through": "callback to delivery, at half the capacity",
        },
        units={"latency/half/rate": "1/s"},
        figures=(
            "latency/half/rate",
            *_named("latency/half/answer"),
            *_named("latency/half/through"),
        ),
        axes=_MS,
        seconds=17,
        run=_half,
    ),
    Case(
        name="latency/storm",
        what="callback to answer, at half the capacity, each callback sent eight times",
        unit="ms",
        figures=_named("latency/storm/answer"),
        seconds=17,
        run=_storm,
        once=True,
        quick=False,
    ),
    Case(
        name="latency/hanging",
        what="callback to answer, at half the capacity, while one of two http sinks never answers",
        unit="ms",
        figures=_named("latency/hanging/answer"),
        seconds=17,
        run=_hanging,
        once=True,
        quick=False,
    ),
    Case(
        name="memory",
        what="most resident memory in ten minutes at half the capacity",
        unit="MB",
        whats={
            "memory/slope": "growth of resident memory, in the second half of ten minutes",
            "memory/rate": "offered load while memory is watched: half the capacity",
        },
        units={"memory/slope": "KB/min", "memory/rate": "1/s"},
        figures=("memory/slope", "memory/most", "memory/rate"),
        axes=("seconds", "megabytes"),
        seconds=612,
        run=_memory,
        once=True,
        quick=False,
    ),
)
