"""The time to an answer while the configuration is reloaded each second."""

import time
from functools import partial

from ..case import Case, Measured
from ..lab.machine import fdatasync
from ..lab.openloop import offered
from ..lab.percentiles import percentile
from ..lab.processes import Bench, Product, meanwhile
from ..lab.receiver import receiving
from .delivering import http, to

#: Callbacks a second. Each becomes two deliveries: twice as many would keep both processors busy,
#: and the time to an answer would be that of the queue.
_RATE = 400
#: Seconds between two reloads.
_EVERY = 1.0
#: Loads without and with reloads, in turn: the machine may be faster at one time than at another.
_ROUNDS = 3
_PERCENTILES = (50, 90, 99, 99.9)
_CHANGES = "changes"


def _reloading(bench: Bench) -> Measured:
    """Change one of two sinks and a route each second. The other sink goes on."""
    seconds = (2 if bench.quick else 5) * bench.seconds / _ROUNDS
    took: list[float] = []
    found: dict[str, list[float]] = {"reloading/without": [], "reloading/with": []}
    with (
        receiving() as receiver,
        bench.product(
            sinks=http({"app": receiver.url, _CHANGES: receiver.url}), routes=to("app", _CHANGES)
        ) as product,
    ):
        bench.load(product.callback(), connections=64, seconds=1)
        product.await_settled()
        for number in range(2 * _ROUNDS):
            load = partial(
                offered,
                product.callback(),
                rate=_RATE,
                seconds=seconds,
                first=(5 + number) * 1_000_000,
            )
            if number % 2:
                with meanwhile(lambda: took.extend(_reload_often(product, seconds))):
                    found["reloading/with"] += load().latencies
            else:
                found["reloading/without"] += load().latencies
            product.await_settled()
    return Measured(
        values={
            "reloading/fdatasync": fdatasync(bench.folder),
            "reloading/took": percentile(sorted(took), 50),
            **{
                f"{name}/p{wanted:g}": percentile(sorted(latencies), wanted)
                for name, latencies in found.items()
                for wanted in _PERCENTILES
            },
        }
    )


def _reload_often(product: Product, seconds: float) -> list[float]:
    """Reload each second; return the milliseconds of each reload."""
    file = product.folder / "smshook.yaml"
    text = file.read_text()
    changed = text.replace(f"{_CHANGES}: {{", f"{_CHANGES}: {{concurrency: 16, ").replace(
        f"[app, {_CHANGES}]", f"[{_CHANGES}, app], when: {{type: sms.received}}"
    )
    took: list[float] = []
    ends = time.monotonic() + seconds
    while time.monotonic() < ends:
        file.write_text(text if len(took) % 2 else changed)
        began = time.monotonic()
        product.reload()
        took.append((time.monotonic() - began) * 1000)
        time.sleep(max(0.0, began + _EVERY - time.monotonic()))
    file.write_text(text)
    return took


def _named(name: str) -> tuple[str, ...]:
    return tuple(f"{name}/p{wanted:g}" for wanted in _PERCENTILES)


CASES = (
    Case(
        name="reloading",
        what=f"a reload that changes a sink and a route, at {_RATE} callbacks a second",
        unit="ms",
        whats={
            "reloading/fdatasync": "appending one page to a file on the same disk, and syncing it",
            "reloading/without": f"callback to answer, at {_RATE} callbacks a second, two sinks",
            "reloading/with": "the same, while the configuration is reloaded each second",
        },
        figures=(
            "reloading/fdatasync",
            "reloading/took",
            *_named("reloading/without"),
            *_named("reloading/with"),
        ),
        seconds=35,
        run=_reloading,
        once=True,
        quick=False,
    ),
)
