"""The cost of the load generator, which shares the machine with the server."""

from ..case import Case, Measured
from ..lab.processes import Bench, Load
from ..lab.processor import used
from .accepting import IDLE, routes
from .delivering import CONNECTIONS


def _generator(bench: Bench) -> Measured:
    seconds = min(bench.seconds, 1.0)  # shares of a core are stable at once
    with bench.floor() as (url, pid):
        before = used(pid).whole
        one = bench.load(url, connections=CONNECTIONS, seconds=seconds)
        floor = used(pid).whole - before
        two = bench.load(url, connections=CONNECTIONS, seconds=seconds, threads=2)
    with bench.product(sinks=IDLE, routes=routes(1)) as product:
        url = product.callback()
        accept = bench.load(url, connections=CONNECTIONS, seconds=seconds)
        product.check(accept, connections=CONNECTIONS)
    return Measured(
        values={
            "generator/one-thread": one.rate,
            "generator/two-threads": two.rate,
            "generator/noop/server": 100 * floor / _lasted(one),
            "generator/noop/share": 100 * one.processor / _lasted(one),
            "generator/noop/request": one.processor * 1e6 / one.answered,
            "generator/accept/share": 100 * accept.processor / _lasted(accept),
            "generator/accept/request": accept.processor * 1e6 / accept.answered,
        }
    )


def _lasted(load: Load) -> float:
    """Seconds of a load."""
    return load.answered / load.rate


CASES = (
    Case(
        name="generator",
        what="a bare ASGI app, loaded by one thread of wrk as in every case, 64 connections",
        whats={
            "generator/two-threads": "a bare ASGI app, loaded by two threads of wrk",
            "generator/noop/server": "share of a core: the bare ASGI app, loaded by one thread",
            "generator/noop/share": "share of a core: wrk while it loads the bare ASGI app",
            "generator/noop/request": "processor time of wrk for a request to the bare ASGI app",
            "generator/accept/share": "share of a core: wrk while smshook accepts",
            "generator/accept/request": "processor time of wrk for a callback that smshook accepts",
        },
        units={
            "generator/one": "1/s",
            "generator/two": "1/s",
            "generator/noop/request": "µs",
            "generator/accept/request": "µs",
        },
        unit="%",
        figures=(
            "generator/one-thread",
            "generator/two-threads",
            "generator/noop/server",
            "generator/noop/share",
            "generator/noop/request",
            "generator/accept/share",
            "generator/accept/request",
        ),
        seconds=7,
        run=_generator,
        quick=False,
    ),
)
