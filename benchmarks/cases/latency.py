"""How long a callback takes to be answered, and how long its event to arrive."""

from collections.abc import Sequence

from .. import machine
from ..bench import Bench, Failed, Product
from ..case import Case, Measured
from ..memory import watched
from ..openloop import Told, offered
from ..percentiles import percentile
from ..receiver import Receiver
from .delivering import CONNECTIONS, HANGS, piped, settled, two

_PERCENTILES = (50, 90, 99, 99.9)
#: A second: nobody waits for anybody.
_IDLE = 10
#: What the capacity is measured with begins elsewhere than what is offered after it.
_ELSEWHERE = 5_000_000
#: Of the distribution that is drawn.
_DRAWN = (*range(99), 99, 99.5, 99.9)


def _through(told: Told, product: Product, receiver: Receiver) -> list[float]:
    """Milliseconds from when each callback was due until its event was there, in order."""
    product.await_settled()
    arrivals = receiver.arrivals()
    missing = [one.request_id for one in told.sent if one.request_id not in arrivals]
    if missing:
        raise Failed(f"{len(missing)} events of {len(told.sent)} did not arrive")
    return sorted((arrivals[one.request_id] - one.due) * 1000 for one in told.sent)


def _percentiles(name: str, ordered: list[float]) -> dict[str, float]:
    found = [percentile(ordered, wanted) for wanted in _PERCENTILES]
    return dict(zip(_named(name), found, strict=True))


def _named(name: str) -> tuple[str, ...]:
    return tuple(f"{name}/p{wanted:g}" for wanted in _PERCENTILES)


def _drawn(ordered: list[float]) -> Sequence[tuple[float, float]]:
    return [(wanted, percentile(ordered, wanted)) for wanted in _DRAWN]


def _at_half(bench: Bench, product: Product, capacity: float, *, each: int = 1) -> Told:
    """What half of that many events a second are answered."""
    return offered(
        product.callback(),
        rate=capacity / 2,
        seconds=4 if bench.quick else 10,
        each=each,
        first=_ELSEWHERE,
    )


def _idle(bench: Bench) -> Measured:
    disk = machine.fdatasync(bench.folder)
    with piped(bench, "timed") as (product, receiver):
        seconds = 5 if bench.quick else 10
        told = offered(product.callback(), rate=_IDLE, seconds=seconds, first=_ELSEWHERE)
        through = _through(told, product, receiver)
    return Measured(values={"fdatasync": disk, **_percentiles("latency/idle", through)})


def _half(bench: Bench) -> Measured:
    with piped(bench, "timed") as (product, receiver):
        capacity = settled(bench, product, sinks=1).rate
        told = _at_half(bench, product, capacity)
        answers, through = told.latencies, _through(told, product, receiver)
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
    """Each callback eight times: what is a copy is answered as soon as what is not."""
    with piped(bench, "timed") as (product, receiver):
        capacity = settled(bench, product, sinks=1).rate
        delivered, before = receiver.count, product.at_rest()
        told = _at_half(bench, product, capacity, each=8)
        product.await_settled()
        distinct = len({one.request_id for one in told.sent})
        grown = product.check_copies(len(told.sent), before=before, under_way=0)
        if (grown.events, receiver.count - delivered) != (distinct, distinct):
            raise Failed(
                f"{distinct} callbacks became {grown.events} events, of which"
                f" {receiver.count - delivered} were delivered"
            )
    return Measured(values=_percentiles("latency/storm/answer", told.latencies))


def _hanging(bench: Bench) -> Measured:
    """One of two sinks takes each request and never answers it: the other's capacity counts."""
    with two(bench, second=HANGS) as product:
        capacity = settled(bench, product, sinks=1).rate
        before = product.at_rest()
        told = _at_half(bench, product, capacity)
        grown = product.check_copies(len(told.sent), before=before, under_way=0)
    if grown.duplicates:
        raise Failed(f"{grown.duplicates} duplicates of callbacks that were sent once")
    return Measured(values=_percentiles("latency/hanging/answer", told.latencies))


def _memory(bench: Bench) -> Measured:
    with piped(bench) as (product, _):
        capacity = settled(bench, product, sinks=1).rate
        seconds = 20 if bench.quick else 600
        memory = watched(
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
        what="in to out at ten callbacks a second, beside one fdatasync of the same disk",
        whats={"fdatasync": "one page appended to a file of the same disk, and synced"},
        unit="ms",
        figures=("fdatasync", *_named("latency/idle")),
        seconds=13,
        run=_idle,
    ),
    Case(
        name="latency/half",
        what=f"at half of what {CONNECTIONS} connections get through: answers, and in to out",
        unit="ms",
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
        what="answers at half the capacity while each callback comes eight times",
        unit="ms",
        figures=_named("latency/storm/answer"),
        seconds=17,
        run=_storm,
        once=True,
        quick=False,
    ),
    Case(
        name="latency/hanging",
        what="answers at half the capacity while one of two http sinks never answers",
        unit="ms",
        figures=_named("latency/hanging/answer"),
        seconds=17,
        run=_hanging,
        once=True,
        quick=False,
    ),
    Case(
        name="memory",
        what="resident memory over ten minutes at half the capacity",
        unit="MB",
        units={"memory/slope": "KB/min", "memory/rate": "1/s"},
        figures=("memory/slope", "memory/most", "memory/rate"),
        axes=("seconds", "megabytes"),
        seconds=612,
        run=_memory,
        once=True,
        quick=False,
    ),
)
