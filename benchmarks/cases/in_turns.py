"""Variants of the product that run at the same time and are loaded in short turns.

The speed of a machine changes within seconds, so each variant is measured in many short turns.
"""

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, ExitStack
from typing import NamedTuple

from ..lab.processes import Bench, Form, Product
from ..lab.processor import Meter
from .delivering import CONNECTIONS

#: Seconds of a turn.
_TURN = 0.5
#: The difference between the first numbers of two turns, so that no callback comes twice.
_APART = 1_000_000


class Spent(NamedTuple):
    """The result of all turns of a variant."""

    #: Callbacks answered a second.
    rate: float
    #: Events accepted.
    events: int
    #: Processor time of an event, in microseconds, of the whole process.
    processor: float
    #: That figure, and those by thread, as `Meter.values` names them.
    metered: Mapping[str, float]


def in_turns(
    bench: Bench,
    variants: Mapping[str, Callable[[], AbstractContextManager[Product]]],
    *,
    form: Form = "tellabot",
    times: int = 1,
    turn: float = _TURN,
) -> Mapping[str, Spent]:
    """Return the rate and processor time of each variant, with deliveries. Raises CaseFailed.

    Each is loaded for the seconds of the bench, `times` over: rates vary more than processor times.
    `turn`: the seconds of a turn. The shorter it is, the less the speed of the machine differs
    between the variants.
    """
    turns = max(2, times * round(bench.seconds / turn))
    with ExitStack() as stack:
        products = {name: stack.enter_context(start()) for name, start in variants.items()}
        for product in products.values():  # to be warm
            bench.load(product.callback(), connections=CONNECTIONS, form=form, seconds=_TURN / 2)
            product.await_settled()
        meters = {name: Meter(product.pid) for name, product in products.items()}
        rates: dict[str, list[float]] = {name: [] for name in products}
        events = dict.fromkeys(products, 0)
        order = list(products.items())
        for number in range(1, turns + 1):
            order.reverse()  # nothing is always measured after the same other
            for name, product in order:
                before = int(product.at_rest()["events"])
                load = bench.load(
                    product.callback(),
                    connections=CONNECTIONS,
                    form=form,
                    first=number * _APART,
                    seconds=turn,
                )
                events[name] += product.check(load, connections=CONNECTIONS, before=before)
                product.await_settled()
                rates[name].append(load.rate)
        metered = {name: meter.values(name, events[name]) for name, meter in meters.items()}
        return {
            name: Spent(
                rate=sum(rates[name]) / turns,
                events=events[name],
                processor=metered[name][f"processor/{name}"],
                metered=metered[name],
            )
            for name in products
        }
