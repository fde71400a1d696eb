"""Callbacks a second that are durable and answered, and the rate of a server that does nothing."""

from functools import partial

from ..case import Case, Measured
from ..lab.processes import Bench, CaseFailed, Form
from ..lab.processor import Meter

#: No event goes to this sink: only acceptance is measured.
IDLE = "idle: {type: http, url: 'http://127.0.0.1:9/'}"
_ROUTES = (
    "rentals: {to: [idle], when: {type: rental.billed}}",
    "whatsapp: {to: [idle], when: {type: sms.received, data.service.key: whatsapp}}",
    "elsewhere: {to: [idle], when: {type: sms.received, data.country: [IN, DE, PL]}}",
)
#: Callbacks that are sent again and again.
_KNOWN = 1000
#: Copies that the last 64 callbacks may lack when a load ends.
_IN_FLIGHT = 64 * 8


def routes(count: int) -> str:
    """Routes that match no callback."""
    return "\n".join(_ROUTES[:count])


def _floor(bench: Bench, *, connections: int) -> Measured:
    name = f"noop/{connections}"
    with bench.floor() as (url, pid):
        meter = Meter(pid)
        load = bench.load(url, connections=connections)
        return Measured(values={name: load.rate, **meter.values(name, load.answered)})


def _accept(bench: Bench, *, form: Form, connections: int, count: int) -> Measured:
    name = f"accept/{form}/{connections}/{count}"
    with bench.product(sinks=IDLE, routes=routes(count)) as product:
        meter = Meter(product.pid)
        load = bench.load(product.callback(form), connections=connections, form=form)
        events = product.check(load, connections=connections)
        return Measured(values={name: load.rate, **meter.values(name, events)})


def _one_transaction(bench: Bench) -> Measured:
    with bench.product(
        sinks=IDLE, routes=routes(1), module="benchmarks.lab.one_transaction"
    ) as product:
        meter = Meter(product.pid)
        load = bench.load(product.callback(), connections=64)
        events = product.check(load, connections=64)
        found = meter.values("one-transaction/64", events)
    return Measured(values={"one-transaction/64": load.rate, **found})


def _duplicates(bench: Bench) -> Measured:
    """Send a thousand known callbacks again and again."""
    with bench.product(sinks=IDLE, routes=routes(1)) as product:
        url = product.callback()
        # The end of a load cuts off some requests, so it may take another to send all callbacks.
        while (before := product.at_rest())["events"] < _KNOWN:
            bench.load(url, connections=64, each=0, among=_KNOWN, seconds=1)
        meter = Meter(product.pid)
        load = bench.load(url, connections=64, each=0, among=_KNOWN, seconds=1)
        found = meter.values("duplicates", load.answered)
        growth = product.check_copies(load.answered, before=before, in_flight=64)
    if growth.events:
        raise CaseFailed(f"known callbacks became {growth.events} new events")
    return Measured(values={"duplicates": load.rate, **found})


def _storm(bench: Bench) -> Measured:
    """Send each callback eight times, as an impatient provider does."""
    with bench.product(sinks=IDLE, routes=routes(1)) as product:
        before = product.stats()
        meter = Meter(product.pid)
        load = bench.load(product.callback(), connections=64, each=8)
        found = meter.values("retry-storm", load.answered)
        growth = product.check_copies(load.answered, before=before, in_flight=64)
    if not 0 <= 8 * growth.events - growth.duplicates - growth.events <= _IN_FLIGHT:
        raise CaseFailed(
            f"{growth.events} events, each sent 8 times, have {growth.duplicates} duplicates"
        )
    copies = growth.duplicates / growth.events
    return Measured(values={"retry-storm": load.rate, "retry-storm/copies": copies, **found})


_FORMS: tuple[tuple[Form, str], ...] = (
    ("tellabot", "TellABot's form"),
    ("herosms", "HeroSMS' JSON"),
)

CASES = (
    Case(
        name="noop/64",
        what="a bare ASGI app on the same server, 64 connections",
        run=partial(_floor, connections=64),
        metered=True,
    ),
    Case(
        name="noop/256",
        what="a bare ASGI app on the same server, 256 connections",
        run=partial(_floor, connections=256),
        metered=True,
        quick=False,
    ),
    *(
        Case(
            name=f"accept/{form}/{connections}/{count}",
            what=f"{words} accepted and durable, {connections} connections, {plural}",
            run=partial(_accept, form=form, connections=connections, count=count),
            metered=True,
            quick=(form, connections, count) == ("tellabot", 64, 1),
        )
        for form, words in _FORMS
        for connections in (64, 256)
        for count, plural in ((1, "1 route"), (3, "3 routes"))
    ),
    Case(
        name="one-transaction/64",
        what="TellABot's form with a transaction for each request, 64 connections, 1 route",
        run=_one_transaction,
        metered=True,
    ),
    Case(
        name="duplicates",
        what="a thousand known callbacks, sent again and again, 64 connections",
        run=_duplicates,
        metered=True,
    ),
    Case(
        name="retry-storm",
        what="each callback sent eight times, mixed with 64 others, 64 connections",
        units={"retry-storm/copies": "copies"},
        figures=("retry-storm", "retry-storm/copies"),
        run=_storm,
        quick=False,
        metered=True,
    ),
)
