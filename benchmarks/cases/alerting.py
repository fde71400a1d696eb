"""The time to an answer while a hundred sinks begin to fail and raise alerts."""

import time
import urllib.request

from ..case import Case, Measured
from ..lab.openloop import offered
from ..lab.percentiles import percentile_names, percentiles
from ..lab.processes import Bench, CaseFailed, Product, meanwhile
from ..lab.receiver import Receiver, receiving
from .delivering import http

#: Callbacks a second. No sink gets these events.
_RATE = 800
_SINKS = 100
#: Port 9 refuses connections.
_DEAD = "http://127.0.0.1:9/"
_STORM = (
    "event=incoming_message&id=1&timestamp={now}&from=22000&to=18505550000&service=WhatsApp"
    "&reply=Your+code+is+123456&pin=123456&price=1.25"
)


def _storm(bench: Bench) -> Measured:
    """Send an event to all failing sinks. A working sink gets the alerts."""
    seconds = (2 if bench.quick else 4) * bench.seconds
    names = [f"sink-{number}" for number in range(_SINKS)]
    routes = (
        f"everywhere: {{to: [{', '.join(names)}], when: {{data.service.key: whatsapp}}}}\n"
        "alerts: {to: [team], when: {type: system.sink_failing}}"
    )
    with (
        receiving() as receiver,
        bench.product(
            sinks=http({**dict.fromkeys(names, _DEAD), "team": receiver.url}),
            routes=routes,
            more="alerts: {sink_failing: {after: 1s}}",
        ) as product,
    ):
        bench.load(product.callback(), connections=64, seconds=1)
        without = offered(product.callback(), rate=_RATE, seconds=seconds, first=5_000_000)
        with meanwhile(lambda: _fail(product)):
            beside = offered(product.callback(), rate=_RATE, seconds=seconds, first=6_000_000)
        _check(receiver)
    return Measured(
        values=percentiles("alerts-storm/without", without.latencies)
        | percentiles("alerts-storm/with", beside.latencies)
    )


def _fail(product: Product) -> None:
    body = _STORM.format(now=int(time.time())).encode()
    urllib.request.urlopen(product.callback(), body, timeout=30).close()  # noqa: S310 - http, ours


def _check(receiver: Receiver) -> None:
    """Wait until the alert of each sink is delivered. Raises CaseFailed."""
    ends = time.monotonic() + 30
    while (count := receiver.count) < _SINKS and time.monotonic() < ends:
        time.sleep(0.1)
    if count != _SINKS:
        raise CaseFailed(f"{_SINKS} sinks fail, but {count} alerts were delivered")


CASES = (
    Case(
        name="alerts-storm",
        what=f"alerts of {_SINKS} sinks that begin to fail, at {_RATE} callbacks a second",
        unit="ms",
        whats={
            "alerts-storm/without": (
                f"callback to answer, at {_RATE} callbacks a second, {_SINKS} idle sinks"
            ),
            "alerts-storm/with": "the same, while all these sinks begin to fail",
        },
        figures=(*percentile_names("alerts-storm/without"), *percentile_names("alerts-storm/with")),
        seconds=28,
        most=3,
        run=_storm,
        quick=False,
    ),
)
