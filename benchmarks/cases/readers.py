"""Many readers: their memory, the time until they are answered, and the cost for the door."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial

from ..case import Case, Measured
from ..lab.percentiles import percentile_names, percentiles
from ..lab.processes import Bench, CaseFailed, Product
from ..lab.processor import used
from ..lab.readers import reading
from .accepting import IDLE, routes
from .delivering import CONNECTIONS
from .in_turns import in_turns

WAITS, STREAMS = 5_000, 500
#: Seconds of the first load.
_WARM = 0.5
#: Callbacks a second that waits are waiting for.
_RATE = 400
#: The number of the first reader's phone, of seven digits: beyond those of the turns.
_FIRST = 9_500_000
#: Seconds until all waits must be waiting.
_OPENING = 30.0
#: Seconds between two looks at a process, and the share of a processor of one that does nothing.
_LOOK, _RESTS = 0.5, 0.05


def _readers(bench: Bench) -> Measured:
    values: dict[str, float] = {}
    spent = in_turns(
        bench,
        {
            "readers/without": partial(bench.product, sinks=IDLE, routes=routes(1)),
            "readers/accept": partial(_beside, bench, values),
        },
    )
    rates = {name: one.rate for name, one in spent.items()}
    return Measured(values={**rates, **values, **spent["readers/accept"].metered})


@contextmanager
def _beside(bench: Bench, values: dict[str, float]) -> Iterator[Product]:
    """Run the product with readers. At the end, answer them all. Raises CaseFailed."""
    with bench.product(sinks=IDLE, routes=routes(1)) as product:
        # To be warm: that memory counts to no reader.
        bench.load(product.callback(), connections=CONNECTIONS, seconds=_WARM)
        product.at_rest()
        before = product.memory()
        admin = f"http://127.0.0.1:{product.admin_port}"
        with reading(
            [admin, product.key, product.callback(), WAITS, STREAMS, _FIRST, _RATE]
        ) as readers:
            _await_rest(product.pid)  # the last waits have been sent, but may not wait yet
            values["readers/memory"] = (product.memory() - before) * 1000 / (WAITS + STREAMS)
            yield product
            result = readers.measure()
    if (len(result.whole), result.streamed) != (WAITS, STREAMS):
        raise CaseFailed(f"{len(result.whole)} waits and {result.streamed} streams got an event")
    values |= percentiles("readers/answer", result.after_commit)
    values |= percentiles("readers/whole", result.whole)


def _await_rest(pid: int) -> None:
    """Wait until a process does nothing. Raises CaseFailed."""
    until = time.monotonic() + _OPENING
    while time.monotonic() < until:
        before = used(pid).whole
        time.sleep(_LOOK)
        if used(pid).whole - before < _RESTS * _LOOK:
            return
    raise CaseFailed(f"the readers were not open within {_OPENING:.0f} s")


_KIND = f"{WAITS:,} waits and {STREAMS} streams"

CASES = (
    Case(
        name="readers/accept",
        what=f"TellABot's form accepted and durable beside {_KIND}, 64 connections, 1 route",
        whats={
            "readers/without": "the same of a process without readers, in turns with the other",
            "readers/memory": f"resident memory of a reader, of {_KIND}",
            "readers/answer": f"answer to a callback to the answer of its wait, of {_KIND}",
            "readers/whole": f"callback to the answer of its wait, of {_KIND}",
        },
        units={"readers/memory": "KB", "readers/answer": "ms", "readers/whole": "ms"},
        figures=(
            "readers/accept",
            "readers/without",
            "readers/memory",
            *percentile_names("readers/answer"),
            *percentile_names("readers/whole"),
        ),
        run=_readers,
        seconds=38,
        most=1,
        quick=False,
        metered=True,
    ),
)
