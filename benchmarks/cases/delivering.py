"""Events a second that are accepted, durable, delivered and settled."""

import contextlib
import shutil
import sqlite3
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import msgspec

from server.runtime.retention import AGES

from ..case import Case, Measured
from ..lab import journals
from ..lab.processes import Bench, Product
from ..lab.processor import Meter
from ..lab.receiver import Receiver, receiving

CONNECTIONS = 64
#: The time that deliveries lag behind a load.
_LAG = "pipeline/lag"
#: The receiver never answers this path.
HANGS = "hang"


def http(receivers: dict[str, str]) -> str:
    """Sinks with those names and URLs, and defaults for all else."""
    return "\n".join(f"{name}: {{type: http, url: '{url}'}}" for name, url in receivers.items())


def to(*sinks: str) -> str:
    """One route for all events."""
    return f"everything: {{to: [{', '.join(sinks)}]}}"


class SettledLoad(msgspec.Struct, frozen=True, kw_only=True):
    """A load after all its deliveries were settled."""

    #: Events a second, from the first request until the last delivery was settled.
    rate: float
    #: Seconds from the load's end until then.
    lag: float
    events: int


def settled(bench: Bench, product: Product, *, sinks: int, first: int = 0) -> SettledLoad:
    """Run a load and wait until `sinks` sinks have delivered all its events."""
    before = product.stats()
    began = time.monotonic()
    load = bench.load(product.callback(), connections=CONNECTIONS, first=first)
    ended = time.monotonic()
    events = product.check(load, connections=CONNECTIONS, before=int(before["events"]))
    delivered = int(before["deliveries"]["delivered"])
    last = product.await_delivered(delivered + sinks * events)
    return SettledLoad(rate=events / (last - began), lag=max(0.0, last - ended), events=events)


@contextlib.contextmanager
def piped(bench: Bench, path: str = "") -> Iterator[tuple[Product, Receiver]]:
    """Run the product with one http sink; yield it and the receiver. `path` is the receiver's."""
    with (
        receiving() as receiver,
        bench.product(sinks=http({"app": f"{receiver.url}{path}"}), routes=to("app")) as product,
    ):
        yield product, receiver


@contextlib.contextmanager
def filled(bench: Bench, events: int, *, retention: str) -> Iterator[Product]:
    """Run the product with one http sink on a copy of the kept journal of that many events."""
    with bench.scratch() as folder, receiving() as receiver:
        journal = folder / "smshook.db"
        shutil.copyfile(journals.journal(events), journal)
        _forget_clock(journal)
        with bench.product(
            sinks=http({journals.SINK: receiver.url}),
            routes=to(journals.SINK),
            journal=journal,
            retention=retention,
        ) as product:
            yield product


def _forget_clock(journal: Path) -> None:
    """Else a service that finds a journal of more than an hour ago prunes nothing for an hour."""
    with contextlib.closing(sqlite3.connect(journal)) as conn, conn:
        conn.execute("delete from moments where name = ?", (AGES.name,))


def _one(bench: Bench) -> Measured:
    with piped(bench) as (product, _):
        meter = Meter(product.pid)
        found = settled(bench, product, sinks=1)
        processor = meter.values("pipeline/http", found.events)
    return Measured(values={"pipeline/http": found.rate, _LAG: found.lag, **processor})


def _three(bench: Bench) -> Measured:
    names = ("app-1", "app-2", "app-3")
    with contextlib.ExitStack() as stack:
        urls = {one: stack.enter_context(receiving()).url for one in names}
        product = stack.enter_context(bench.product(sinks=http(urls), routes=to(*names)))
        meter = Meter(product.pid)
        found = settled(bench, product, sinks=3)
        processor = meter.values("pipeline/http-3", found.events)
        return Measured(values={"pipeline/http-3": found.rate, **processor})


def _file(bench: Bench) -> Measured:
    sinks = "log: {type: file, path: events.jsonl}"
    with bench.product(sinks=sinks, routes=to("log")) as product:
        meter = Meter(product.pid)
        found = settled(bench, product, sinks=1)
        processor = meter.values("pipeline/file", found.events)
        return Measured(values={"pipeline/file": found.rate, **processor})


@contextlib.contextmanager
def two(bench: Bench, *, second: str) -> Iterator[Product]:
    """Run the product with two http sinks; the second delivers to path `second`."""
    with receiving() as works, receiving() as other:
        urls = {"works": works.url, "other": f"{other.url}{second}"}
        with bench.product(sinks=http(urls), routes=to("works", "other")) as product:
            yield product


def _hanging(bench: Bench, *, name: str, second: str) -> Measured:
    with two(bench, second=second) as product:
        meter = Meter(product.pid)
        load = bench.load(product.callback(), connections=CONNECTIONS)
        events = product.check(load, connections=CONNECTIONS)
        return Measured(values={name: load.rate, **meter.values(name, events)})


CASES = (
    Case(
        name="pipeline/http",
        what="accepted, durable, delivered by one http sink and settled",
        whats={_LAG: "from the end of that load until its last delivery was settled"},
        units={_LAG: "s"},
        figures=("pipeline/http", _LAG),
        run=_one,
        metered=True,
    ),
    Case(
        name="pipeline/http-3",
        what="accepted, durable, delivered by three http sinks and settled",
        seconds=7,
        run=_three,
        metered=True,
        quick=False,
    ),
    Case(
        name="pipeline/file",
        what="accepted, durable, written by a file sink and synced, settled",
        run=_file,
        metered=True,
        quick=False,
    ),
    Case(
        name="hanging/without",
        what="accepted while two http sinks work",
        run=partial(_hanging, name="hanging/without", second=""),
        metered=True,
    ),
    Case(
        name="hanging/with",
        what="accepted while one of two http sinks never answers",
        run=partial(_hanging, name="hanging/with", second=HANGS),
        metered=True,
    ),
)
