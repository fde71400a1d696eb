"""How many events a second go through: accepted, durable, delivered and settled."""

import contextlib
import time
from collections.abc import Iterator
from functools import partial

from ..bench import Bench, Product
from ..case import Case, Measured
from ..receiver import Receiver, receiving

CONNECTIONS = 64


def http(receivers: dict[str, str]) -> str:
    """Sinks of those names at those urls, else with their defaults."""
    return "\n".join(f"{name}: {{type: http, url: '{url}'}}" for name, url in receivers.items())


def to(*sinks: str) -> str:
    """One route for everything."""
    return f"everything: {{to: [{', '.join(sinks)}]}}"


def settled(bench: Bench, product: Product, *, sinks: int, first: int = 0) -> float:
    """Events a second, from the first request until the last delivery is settled."""
    before = product.stats()
    began = time.monotonic()
    load = bench.load(product.callback(), connections=CONNECTIONS, first=first)
    events = product.check(load, connections=CONNECTIONS, before=int(before["events"]))
    delivered = int(before["deliveries"]["delivered"])
    return events / (product.await_delivered(delivered + sinks * events) - began)


@contextlib.contextmanager
def piped(bench: Bench, path: str = "") -> Iterator[tuple[Product, Receiver]]:
    """The product with one http sink, and what receives there, at that path of its."""
    with (
        receiving() as receiver,
        bench.product(sinks=http({"app": f"{receiver.url}{path}"}), routes=to("app")) as product,
    ):
        yield product, receiver


def _http(bench: Bench, *, name: str, sinks: int) -> Measured:
    names = [f"app-{number}" for number in range(sinks)]
    with contextlib.ExitStack() as stack:
        urls = {one: stack.enter_context(receiving()).url for one in names}
        product = stack.enter_context(bench.product(sinks=http(urls), routes=to(*names)))
        return Measured(values={name: settled(bench, product, sinks=sinks)})


def _file(bench: Bench) -> Measured:
    sinks = "log: {type: file, path: events.jsonl}"
    with bench.product(sinks=sinks, routes=to("log")) as product:
        return Measured(values={"pipeline/file": settled(bench, product, sinks=1)})


def _hanging(bench: Bench, *, hangs: bool) -> Measured:
    """Two sinks; the second takes each request and never answers it."""
    name = "hanging/with" if hangs else "hanging/without"
    with receiving() as works, receiving() as other:
        urls = {"works": works.url, "other": f"{other.url}hang" if hangs else other.url}
        with bench.product(sinks=http(urls), routes=to("works", "other")) as product:
            load = bench.load(product.callback(), connections=CONNECTIONS)
            product.check(load, connections=CONNECTIONS)
    return Measured(values={name: load.rate})


CASES = (
    Case(
        name="pipeline/http",
        what="in, durable, out through one http sink and settled",
        run=partial(_http, name="pipeline/http", sinks=1),
    ),
    Case(
        name="pipeline/http-3",
        what="the same through three http sinks",
        run=partial(_http, name="pipeline/http-3", sinks=3),
        quick=False,
    ),
    Case(
        name="pipeline/file",
        what="the same through a file sink, each event synced to disk",
        run=_file,
        quick=False,
    ),
    Case(
        name="hanging/without",
        what="accepted while two http sinks work",
        run=partial(_hanging, hangs=False),
    ),
    Case(
        name="hanging/with",
        what="accepted while one of two http sinks never answers",
        run=partial(_hanging, hangs=True),
    ),
)
