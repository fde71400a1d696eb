"""The cost of a scrape of `/metrics`."""

from ..case import Case, Measured
from ..lab.processes import Bench
from ..lab.processor import used
from ..lab.receiver import receiving
from .delivering import http, to

_SINKS = 20


def _scrape(bench: Bench) -> Measured:
    names = [f"app{n}" for n in range(_SINKS)]
    with (
        receiving() as receiver,
        bench.product(sinks=http(dict.fromkeys(names, receiver.url)), routes=to(*names)) as product,
    ):
        # Each sink has attempts, and each histogram has counts.
        bench.load(product.callback(), connections=4, seconds=0.2)
        product.await_settled()
        text = product.scrape()
        scrapes = 50 if bench.quick else 200
        before = used(product.pid).whole
        for _ in range(scrapes):
            product.scrape()
        spent = used(product.pid).whole - before
    return Measured(
        values={
            "scrape": spent / scrapes * 1000,
            "scrape/bytes": len(text),
        }
    )


CASES = (
    Case(
        name="scrape",
        what=f"processor time of a scrape of `/metrics`, with {_SINKS} sinks",
        unit="ms",
        whats={"scrape/bytes": f"size of `/metrics`, with {_SINKS} sinks"},
        units={"scrape/bytes": "B"},
        figures=("scrape", "scrape/bytes"),
        run=_scrape,
        seconds=6,
        most=1,
        quick=False,
    ),
)
