"""Where the processor time of one event goes."""

from ..case import Case, Measured
from ..lab.processes import Bench, Load, Product, meanwhile
from ..lab.profile import record, values
from .accepting import IDLE, routes
from .delivering import CONNECTIONS, piped

#: Seconds of sampling. As many seconds before it are measured without the profiler.
_SECONDS, _QUICK_SECONDS = 10, 3


def _profile(bench: Bench, product: Product, name: str) -> Measured:
    seconds = _QUICK_SECONDS if bench.quick else _SECONDS

    def load() -> Load:
        return bench.load(product.callback(), connections=CONNECTIONS, seconds=2 * seconds + 4)

    with meanwhile(load):
        found = record(product.pid, lambda: int(product.stats()["events"]), seconds=seconds)
    return Measured(values=values(name, found))


def _accepting(bench: Bench) -> Measured:
    with bench.product(sinks=IDLE, routes=routes(1)) as product:
        return _profile(bench, product, "profile/accept")


def _delivering(bench: Bench) -> Measured:
    with piped(bench) as (product, _):
        return _profile(bench, product, "profile/pipeline")


CASES = (
    Case(
        name="profile/accept",
        what="processor time of an event, accepted only",
        unit="µs",
        figures=("profile/accept/",),
        seconds=35,
        run=_accepting,
        most=1,
        quick=False,
    ),
    Case(
        name="profile/pipeline",
        what="processor time of an event, through one http sink",
        unit="µs",
        figures=("profile/pipeline/",),
        seconds=35,
        run=_delivering,
        most=1,
        quick=False,
    ),
)
