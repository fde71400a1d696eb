"""What it costs that the journal is large."""

import resource
import sqlite3
import statistics
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, closing, contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import quote

import msgspec

from .. import prefill
from ..case import Case, Measured
from ..load import send
from ..product import Product, running
from ..receiver import Receiver, answering, hanging

#: Sizes by the names that figures have.
SIZES: Mapping[str, int] = {"1m": 1_000_000, "10m": 10_000_000}
#: Deliveries that are owed when the service starts.
OWED = 100_000
#: Events whose copies come again and again, and how many copies come.
DISTINCT, COPIES = 1000, 100_000
#: Times that each question is asked.
ASKED, ASKED_QUICK = 100, 20
#: Seconds of load, and of unmeasured load before it.
SECONDS, SECONDS_QUICK, WARM_UP = 8, 2, 1
#: Seconds that a backlog may take.
DRAIN_WITHIN = 60.0


class Disagrees(Exception):
    """The service counts other than the load generator or the receiver."""


class Pipeline(msgspec.Struct, frozen=True, kw_only=True):
    name: str = "pipeline-by-size"
    what: str = "Accepted, delivered and settled a second, on journals of several sizes."
    once: bool = False

    def run(self, folder: Path, *, quick: bool) -> Measured:
        seconds = SECONDS_QUICK if quick else SECONDS
        sizes = {"empty": 0, **_sizes(quick=quick)}
        values = {}
        for size, events in sizes.items():
            values[f"pipeline/{size}"] = _pipeline(folder / size, events, seconds)
        series = [(float(sizes[size]), values[f"pipeline/{size}"]) for size in sizes]
        return Measured(values=values, series={"pipeline by events": series})


class Start(msgspec.Struct, frozen=True, kw_only=True):
    name: str = "start"
    what: str = "From exec to ready, with 100,000 deliveries owed to a sink that hangs."
    once: bool = True

    def run(self, folder: Path, *, quick: bool) -> Measured:
        values = {}
        for size, events in _sizes(quick=quick).items():
            journal = prefill.journal(events)
            prefill.owe(journal, OWED)
            try:
                with _on(folder / size, hanging, journal) as (product, _):
                    values[f"start/{size}/seconds"] = product.ready_after
                    values[f"start/{size}/memory"] = max(_watched(product.memory, seconds=5))
            finally:
                prefill.settle(journal)
        return Measured(values=values)


class Reading(msgspec.Struct, frozen=True, kw_only=True):
    name: str = "reading"
    what: str = "The API's lists, filters and lookups on a large journal: median and p99, in ms."
    once: bool = True

    def run(self, folder: Path, *, quick: bool) -> Measured:
        values = {}
        for size, events in _sizes(quick=quick).items():
            with _on(folder / size, answering, prefill.journal(events)) as (product, _):
                for question, path in _questions(product, events):
                    took = _ask(product, path, ASKED_QUICK if quick else ASKED)
                    median, p99 = statistics.median(took), statistics.quantiles(took, n=100)[98]
                    values[f"reading/{size}/{question}/median"] = median
                    values[f"reading/{size}/{question}/p99"] = p99
                search = f"/events?number={quote(_middle(product, events)['event']['data']['to'])}"
                took_ms = _timed(lambda: _find(product, search)) * 1000  # noqa: B023 - called here
                values[f"reading/{size}/a number, page by page until it is found"] = took_ms
        return Measured(values=values)


class Bytes(msgspec.Struct, frozen=True, kw_only=True):
    name: str = "bytes"
    what: str = "Bytes kept and written to disk for one event, its delivery and its checkpoint."
    once: bool = True

    def run(self, folder: Path, *, quick: bool) -> Measured:
        values = {}
        for form in (prefill.SOURCE, "herosms"):
            before = _written_by_children()
            with _on(folder / form, answering) as (product, receiver):
                _deliver(product, receiver, SECONDS_QUICK if quick else SECONDS, form)
                events, journal, log = product.get("/stats")["events"], product.journal, product.log
            # It has ended, and so checkpointed.
            written = _written_by_children() - before - log.stat().st_size
            values[f"bytes/{form}/kept"] = journal.stat().st_size / events
            values[f"bytes/{form}/written"] = written / events
        return Measured(values=values)


class Duplicates(msgspec.Struct, frozen=True, kw_only=True):
    name: str = "duplicates"
    what: str = "What copies of a thousand events add to the journal: 100,000, and as many again."
    once: bool = True

    def run(self, folder: Path, *, quick: bool) -> Measured:
        copies = COPIES // 10 if quick else COPIES
        values: dict[str, float] = {}
        with _on(folder, answering) as (product, receiver):
            second = int(time.time())
            for part in ("first", "further"):
                before, bytes_ = _duplicates(product), _size(product.journal)
                _repeat(product, second, until=before + copies)
                values[f"duplicates/{part}/copies"] = _duplicates(product) - before
                values[f"duplicates/{part}/bytes"] = _size(product.journal) - bytes_
                values[f"duplicates/{part}/rows"] = _rows(product.journal, "duplicates")
            time.sleep(1)  # what the first of them owe has left by then
            events = _rows(product.journal, "events")
            if not events == receiver.count == DISTINCT:
                raise Disagrees(f"{events} events of {DISTINCT}, {receiver.count} delivered")
        return Measured(values=values)


CASES: Sequence[Case] = (Pipeline(), Start(), Reading(), Bytes(), Duplicates())


def _sizes(*, quick: bool) -> Mapping[str, int]:
    """Those that are to be measured: a quick run takes of the largest what is kept."""
    return {
        name: events
        for name, events in SIZES.items()
        if not quick or events == SIZES["1m"] or prefill.is_kept(events)
    }


@contextmanager
def _on(
    folder: Path,
    sink: Callable[[], AbstractContextManager[Receiver]],
    journal: Path | None = None,
) -> Iterator[tuple[Product, Receiver]]:
    folder.mkdir(parents=True, exist_ok=True)
    with sink() as receiver, running(folder, sink_url=receiver.url, journal=journal) as product:
        yield product, receiver


# --- load ---------------------------------------------------------------------------------------


def _pipeline(folder: Path, events: int, seconds: float) -> float:
    journal = prefill.journal(events) if events else None
    with _on(folder, answering, journal) as (product, receiver):
        _deliver(product, receiver, WARM_UP, prefill.SOURCE)
        return _deliver(product, receiver, seconds, prefill.SOURCE)


def _deliver(product: Product, receiver: Receiver, seconds: float, form: str) -> float:
    """Events a second until the last of them had arrived: a backlog counts."""
    before, arrived, began = product.get("/stats")["events"], receiver.count, time.monotonic()
    sent = send(product.callback_urls[form], form=form, seconds=seconds)
    _await_delivered(product, receiver, began)
    events = product.get("/stats")["events"] - before
    # wrk counts no answer that was under way when it ended.
    if not sent.answered <= events <= sent.answered + _UNDER_WAY or (
        receiver.count - arrived != events
    ):
        raise Disagrees(
            f"wrk counted {sent.answered} answers, the service {events} events,"
            f" the receiver {receiver.count - arrived}"
        )
    return float(events / (receiver.last - began))


#: Callbacks that may be under way when the load ends: one a connection.
_UNDER_WAY = 64


def _await_delivered(product: Product, receiver: Receiver, since: float) -> None:
    until = time.monotonic() + DRAIN_WITHIN
    while time.monotonic() < until:
        owed = product.get("/stats")["deliveries"]
        if receiver.last > since and not owed["pending"] + owed["sending"]:
            return
        time.sleep(0.05)
    raise Disagrees(f"{owed} still owed {DRAIN_WITHIN:.0f} s after the load")


def _duplicates(product: Product) -> int:
    return int(product.get("/stats")["duplicates"])


def _size(journal: Path) -> int:
    """Bytes of the file and of what its log has for it."""
    return _read(journal, "select page_count * page_size from pragma_page_count, pragma_page_size")


def _rows(journal: Path, table: str) -> int:
    return _read(journal, f"select count(*) from {table}")  # noqa: S608 - words of ours


def _read(journal: Path, question: str) -> int:
    with closing(sqlite3.connect(f"{journal.absolute().as_uri()}?mode=ro", uri=True)) as conn:
        return int(conn.execute(question).fetchone()[0])


def _written_by_children() -> int:
    """Bytes that processes which have ended caused to be written to disk."""
    # What /proc/PID/io calls write_bytes, in blocks of 512, of the last checkpoint too.
    return resource.getrusage(resource.RUSAGE_CHILDREN).ru_oublock * 512


def _repeat(product: Product, second: int, *, until: int) -> None:
    while _duplicates(product) < until:
        send(
            product.callback_urls[prefill.SOURCE],
            form=prefill.SOURCE,
            seconds=2,
            distinct=DISTINCT,
            second=second,
        )


# --- questions ----------------------------------------------------------------------------------


def _questions(product: Product, events: int) -> Iterator[tuple[str, str]]:
    """One of each kind, about the middle of the journal: neither end is warmer than it."""
    found = _middle(product, events)
    event, cursor = found["event"], quote(found["cursor"])
    request = event["data"]["request_id"]
    number, at = quote(event["data"]["to"]), quote(event["recordedtime"])
    yield from (
        ("events, first page", "/events"),
        ("events, last page", "/events?order=desc"),
        ("events, page in the middle", f"/events?after={cursor}"),
        ("event by id", f"/events/{event['id']}"),
        ("event with its callback", f"/events/{event['id']}?raw=true"),
        ("events by request", f"/events?request_id={request}"),
        ("events by activation", "/events?activation_id=1"),
        ("events by rental", "/events?rental_id=1"),
        ("events by subject", f"/events?subject=request/{request}"),
        ("events by number", f"/events?order=desc&number={number}"),
        ("events by type", "/events?type=sms.received"),
        ("events by type, none", "/events?type=rental.renewed"),
        ("events by source", f"/events?source={prefill.SOURCE}"),
        ("events by service", "/events?service=google"),
        ("events by service, none", "/events?service=telegram"),
        ("events by reference, none", "/events?reference=order-1"),
        ("events with a code", "/events?code=true"),
        ("events since", f"/events?since={at}"),
        ("events until, newest first", f"/events?order=desc&until={at}"),
        ("deliveries, first page", "/deliveries"),
        ("deliveries, newest", "/deliveries?order=desc"),
        ("deliveries of an event", f"/deliveries?event={event['id']}"),
        ("deliveries delivered", "/deliveries?state=delivered"),
        ("deliveries dead, none", "/deliveries?state=dead"),
        ("deliveries pending, none", "/deliveries?state=pending"),
        ("deliveries of a sink", f"/deliveries?sink={prefill.SINK}"),
        ("deliveries of a sink, none", "/deliveries?sink=nobody"),
        ("stats", "/stats"),
    )


def _middle(product: Product, events: int) -> Any:
    """The item of the event in the middle."""
    request = prefill.FIRST_REQUEST + events // 2
    return product.get(f"/events?request_id={request}")["data"][0]


def _find(product: Product, search: str) -> None:
    """Follow the cursors of pages until one has something."""
    page = product.get(search)
    while not page["data"]:
        if not page["has_more"]:
            raise Disagrees(f"{search}: nothing is found, though it is there")
        page = product.get(f"{search}&after={quote(page['next_cursor'])}")


def _ask(product: Product, path: str, times: int) -> list[float]:
    """Milliseconds of each answer, the connection and the client included."""
    product.get(path)
    return [_timed(lambda: product.get(path)) * 1000 for _ in range(times)]


def _timed(do: Callable[[], Any]) -> float:
    began = time.perf_counter()
    do()
    return time.perf_counter() - began


def _watched(value: Callable[[], int], *, seconds: float) -> Iterator[float]:
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        yield float(value())
        time.sleep(0.1)
