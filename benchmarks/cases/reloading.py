"""The time to an answer while the configuration is reloaded each second."""

import time
from functools import partial

from ..case import Case, Measured
from ..lab.machine import fdatasync
from ..lab.openloop import offered
from ..lab.percentiles import percentile, percentile_names, percentiles
from ..lab.processes import Bench, Product, meanwhile
from ..lab.receiver import receiving
from .delivering import http, to

#: Callbacks a second. Each becomes two deliveries: twice as many would keep both processors busy,
#: and the time to an answer would be that of the queue.
_RATE = 400
#: Seconds between two reloads.
_EVERY = 1.0
_CHANGES = "changes"


def _reloading(bench: Bench) -> Measured:
    """Change one of two sinks and a route each second. The other sink goes on."""
    seconds = 2 * bench.seconds
    took: list[float] = []
    with (
        receiving() as receiver,
        bench.product(
            sinks=http({"app": receiver.url, _CHANGES: receiver.url}), routes=to("app", _CHANGES)
        ) as product,
    ):
        bench.load(product.callback(), connections=64, seconds=1)
        product.await_settled()
        load = partial(offered, product.callback(), rate=_RATE, seconds=seconds)
        without = load(first=5_000_000)
        product.await_settled()
        with meanwhile(lambda: took.extend(_reload_often(product, seconds))):
            beside = load(first=6_000_000)
    return Measured(
        values={
            "reloading/fdatasync": fdatasync(bench.folder),
            "reloading/took": percentile(took, 50),
            **percentiles("reloading/without", without.latencies),
            **percentiles("reloading/with", beside.latencies),
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
            *percentile_names("reloading/without"),
            *percentile_names("reloading/with"),
        ),
        seconds=15,
        most=3,
        run=_reloading,
        quick=False,
    ),
)
