"""The cost of a large journal."""

import contextlib
import resource
import time
from collections.abc import Iterator
from functools import partial
from urllib.parse import quote

from ..case import Case, Measured
from ..lab import journals
from ..lab.percentiles import percentile
from ..lab.processes import Bench, CaseFailed, Form, Product
from ..lab.processor import Meter
from ..lab.receiver import receiving
from ..peers.peer import NotMeasured
from .accepting import IDLE, routes
from .delivering import HANGS, http, settled, to

_MILLION, _TEN_MILLION = 1_000_000, 10_000_000
#: Deliveries that are pending when the service starts.
_PENDING = 100_000
#: Events that are sent again and again. Their bytes are compared after these numbers of copies.
_DISTINCT, _COUNTED_AT = 200, (150, 300)
#: Each question is asked _ASKED times, after one time that does not count. After _ASKING seconds
#: it is not asked again, if it was asked _ASKED_AT_LEAST times.
_ASKED, _ASKED_AT_LEAST, _ASKING = 100, 3, 3.0
_FORMS: tuple[tuple[Form, str], ...] = (("tellabot", "TellABot"), ("herosms", "HeroSMS"))
#: The first number of a second load: within one second, the same number is the same callback.
_AFTER_THE_FIRST = 5_000_000
#: Seconds of watching the memory.
_WATCHED = 5.0


@contextlib.contextmanager
def _filled(bench: Bench, events: int, path: str = "") -> Iterator[Product]:
    """Run the product on a journal of that many events, with the http sink of their deliveries."""
    if bench.quick and events and not journals.is_kept(events):
        raise NotMeasured(f"no journal of {events:,} events is kept: a whole run makes one")
    journal = journals.journal(events) if events else None
    with (
        receiving() as receiver,
        bench.product(
            sinks=http({journals.SINK: f"{receiver.url}{path}"}),
            routes=to(journals.SINK),
            journal=journal,
        ) as product,
    ):
        yield product


def _pipeline(bench: Bench, *, name: str, events: int) -> Measured:
    with _filled(bench, events) as product:
        # The first reads come from the disk, also with a small journal.
        bench.load(product.callback(), connections=64, seconds=1)
        product.await_settled()
        meter = Meter(product.pid)
        found = settled(bench, product, sinks=1, first=_AFTER_THE_FIRST)
        return Measured(values={name: found.rate, **meter.values(name, found.events)})


def _start(bench: Bench) -> Measured:
    """The sink hangs, so that deliveries stay pending."""
    if bench.quick and not journals.is_kept(_TEN_MILLION):
        raise NotMeasured("no journal of 10,000,000 events is kept: a whole run makes one")
    journal = journals.journal(_TEN_MILLION)
    journals.make_pending(journal, _PENDING)
    try:
        with _filled(bench, _TEN_MILLION, HANGS) as product:
            samples, until = [product.memory()], time.monotonic() + _WATCHED
            while time.monotonic() < until:
                time.sleep(0.1)
                samples.append(product.memory())
            most = max(samples)
            return Measured(values={"start/10m": product.ready_after, "memory/owed": most})
    finally:
        journals.make_delivered(journal)


def _reading(bench: Bench) -> Measured:
    values = {}
    with _filled(bench, _TEN_MILLION) as product:
        for question, path in _questions(product, _TEN_MILLION):
            took = _ask(product, path)
            for wanted in (50, 99):
                values[f"read/10m/{question}/p{wanted}"] = percentile(took, wanted)
    return Measured(values=values)


def _bytes(bench: Bench, *, form: Form) -> Measured:
    """Bytes of an event with its callback, delivery and attempt; the checkpoint included."""
    before = _written_by_children()
    with bench.scratch() as folder:
        journal = folder / "smshook.db"
        with (
            receiving() as receiver,
            bench.product(
                sinks=http({"app": receiver.url}), routes=to("app"), journal=journal
            ) as product,
        ):
            bench.load(product.callback(form), connections=64, form=form)
            product.await_settled()
            events = int(product.stats()["events"])
            log = (product.folder / "output.log").stat().st_size
        # The product has ended and so checkpointed.
        written = _written_by_children() - before - log
        kept = journal.stat().st_size
    return Measured(
        values={f"bytes/kept/{form}": kept / events, f"bytes/written/{form}": written / events}
    )


def _copies(bench: Bench) -> Measured:
    """Bytes of further copies, once the first hundred of each event are listed."""
    copies, sizes = [], []
    with bench.scratch() as folder:
        journal = folder / "smshook.db"
        for until in _COUNTED_AT:
            with bench.product(sinks=IDLE, routes=routes(1), journal=journal) as product:
                url = product.callback()
                while (stats := product.stats())["duplicates"] < until * _DISTINCT:
                    bench.load(url, connections=64, each=0, among=_DISTINCT, seconds=2)
            if stats["events"] != _DISTINCT:
                raise CaseFailed(f"{stats['events']} events of {_DISTINCT} callbacks")
            copies.append(stats["duplicates"])
            sizes.append(journal.stat().st_size)
    more, grown = copies[1] - copies[0], sizes[1] - sizes[0]
    return Measured(values={"duplicates/copies": more, "duplicates/bytes": grown / more})


def _questions(product: Product, events: int) -> Iterator[tuple[str, str]]:
    """Yield one question of each kind, about the middle of the journal: the ends may be cached."""
    request = journals.FIRST_REQUEST + events // 2
    [found] = product.ask(f"/events?request_id={request}")["data"]
    event, cursor = found["event"], quote(found["cursor"])
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
        ("events by source", f"/events?source={journals.SOURCE}"),
        ("events by service", "/events?service=google"),
        ("events by service, none", "/events?service=nobody"),
        ("events by reference, none", "/events?reference=order-1"),
        ("events with a code", "/events?code=true"),
        ("events since", f"/events?since={at}"),
        ("events until, newest first", f"/events?order=desc&until={at}"),
        ("deliveries, first page", "/deliveries"),
        ("deliveries, newest", "/deliveries?order=desc"),
        ("deliveries of an event", f"/deliveries?event={event['id']}"),
        ("deliveries delivered", "/deliveries?state=delivered"),
        ("deliveries dead", "/deliveries?state=dead"),
        ("deliveries pending, none", "/deliveries?state=pending"),
        ("deliveries of a sink", f"/deliveries?sink={journals.SINK}"),
        ("deliveries of a sink, none", "/deliveries?sink=nobody"),
        ("stats", "/stats"),
    )


def _ask(product: Product, path: str) -> list[float]:
    """Milliseconds of each answer in order, connection and client included."""
    product.ask(path)
    took: list[float] = []
    until = time.monotonic() + _ASKING
    while len(took) < _ASKED_AT_LEAST or (len(took) < _ASKED and time.monotonic() < until):
        began = time.perf_counter()
        product.ask(path)
        took.append((time.perf_counter() - began) * 1000)
    return sorted(took)


def _written_by_children() -> int:
    """Bytes that ended processes wrote to disk."""
    # `write_bytes` of /proc/PID/io, in blocks of 512, the last checkpoint included.
    return resource.getrusage(resource.RUSAGE_CHILDREN).ru_oublock * 512


CASES = (
    *(
        Case(
            name=f"scale/{size}",
            what=f"accepted, durable, delivered and settled, on a journal of {words}",
            seconds=9,
            run=partial(_pipeline, name=f"scale/{size}", events=events),
            metered=True,
            quick=False,
        )
        for size, words, events in (
            ("empty", "no events", 0),
            ("1m", "a million events", _MILLION),
            ("10m", "ten million events", _TEN_MILLION),
        )
    ),
    Case(
        name="start",
        what="start until ready, with ten million events and 100,000 pending deliveries",
        unit="s",
        whats={"memory/": "resident memory with 100,000 pending deliveries to a sink that hangs"},
        units={"memory/": "MB"},
        figures=("start/10m", "memory/owed"),
        seconds=40,
        run=_start,
        most=1,
        quick=False,
    ),
    Case(
        name="read",
        what="one answer of the API, at ten million events",
        unit="ms",
        figures=("read/10m/",),
        seconds=40,
        run=_reading,
        most=1,
        quick=False,
    ),
    *(
        Case(
            name=f"bytes/{form}",
            what=f"bytes kept for one event of {words}",
            unit="B",
            whats={"bytes/written/": f"bytes written to disk for one event of {words}"},
            figures=(f"bytes/kept/{form}", f"bytes/written/{form}"),
            seconds=8,
            run=partial(_bytes, form=form),
            most=1,
            quick=False,
        )
        for form, words in _FORMS
    ),
    Case(
        name="copies",
        what="bytes that a further copy of a known callback adds to the journal",
        unit="B",
        whats={"duplicates/copies": "further copies of two hundred known callbacks"},
        units={"duplicates/copies": ""},
        figures=("duplicates/copies", "duplicates/bytes"),
        seconds=25,
        run=_copies,
        most=1,
        quick=False,
    ),
)
