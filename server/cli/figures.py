"""Figures of orders by group: seconds to a code, codes that never came, costs. Pure."""

import statistics
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from decimal import ROUND_HALF_EVEN, Context, Decimal
from functools import reduce
from typing import Any

import msgspec

#: The fields by which orders can be grouped.
FIELDS = ("source", "provider", "service", "country")
#: More digits than any sum has: an amount has at most 45.
_EXACT = Context(prec=100, rounding=ROUND_HALF_EVEN)
#: The price of a code is rounded to four places and shown with at least two.
_ROUNDED, _CENTS = Decimal("0.0001"), Decimal("0.01")


class OrderOutcome(msgspec.Struct, frozen=True, kw_only=True):
    """The outcome of an order."""

    #: The value of each of FIELDS.
    fields: Mapping[str, str | None]
    #: `waiting`, `received`, `expired` or `cancelled`.
    state: str
    #: From its registration to its first SMS or call; None if unknown.
    seconds: float | None = None
    amount: Decimal | None = None
    currency: str | None = None


class Cost(msgspec.Struct, frozen=True, kw_only=True):
    """The costs of codes in one currency. Amounts are decimal digits."""

    #: None if unknown.
    currency: str | None
    #: Orders with a price that received a code.
    codes: int
    #: The exact sum of their prices.
    total: str
    #: The mean, rounded to a hundredth of a cent.
    price_a_code: str


class FigureGroup(msgspec.Struct, frozen=True, kw_only=True):
    """Orders with the same values in the grouped fields, without cancelled ones."""

    #: The values by field; null if unknown.
    of: Mapping[str, str | None]
    #: Orders that received an SMS or a call.
    received: int
    #: Orders that ended without one.
    expired: int
    #: Orders that may still receive one.
    waiting: int
    #: The median time of received orders, to a millisecond; null if there are none.
    median_seconds: float | None
    #: expired / (received + expired), from 0 to 1; null if no order has ended.
    never_came: float | None
    #: One for each currency, sorted by its name.
    costs: Sequence[Cost]


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """The groups, largest first, and the figures of all orders."""

    groups: Sequence[FigureGroup]
    all: FigureGroup


def outcome(order: Mapping[str, Any], seconds: float | None) -> OrderOutcome:
    """Return the outcome of an order as the API lists it."""
    fields = {name: order[name] for name in FIELDS}
    fields["service"] = order["service_key"]
    price = order["price"] or {"amount": None, "currency": None}
    amount = price["amount"]
    return OrderOutcome(
        fields=fields,
        state=order["state"],
        seconds=seconds,
        amount=None if amount is None else Decimal(amount),
        currency=price["currency"],
    )


def report(outcomes: Iterable[OrderOutcome], by: Sequence[str]) -> Report:
    """Return the figures of orders grouped by some of FIELDS, in that order."""
    counted = [outcome for outcome in outcomes if outcome.state != "cancelled"]
    grouped: dict[tuple[str | None, ...], list[OrderOutcome]] = defaultdict(list)
    for outcome in counted:
        grouped[tuple(outcome.fields[name] for name in by)].append(outcome)
    # Largest first, then by name; unknown values last.
    ordered = sorted(
        grouped.items(),
        key=lambda item: (-len(item[1]), [(name is None, name or "") for name in item[0]]),
    )
    groups = [_group(dict(zip(by, names, strict=True)), its) for names, its in ordered]
    return Report(groups=groups, all=_group({}, counted))


def _group(of: Mapping[str, str | None], outcomes: Sequence[OrderOutcome]) -> FigureGroup:
    received = [outcome for outcome in outcomes if outcome.state == "received"]
    expired = sum(outcome.state == "expired" for outcome in outcomes)
    seconds = [outcome.seconds for outcome in received if outcome.seconds is not None]
    ended = len(received) + expired
    return FigureGroup(
        of=of,
        received=len(received),
        expired=expired,
        waiting=len(outcomes) - ended,
        median_seconds=round(statistics.median(seconds), 3) if seconds else None,
        never_came=expired / ended if ended else None,
        costs=_costs(received),
    )


def _costs(received: Sequence[OrderOutcome]) -> Sequence[Cost]:
    # Refunds for codes that never came are unknown, so only received orders count.
    by_currency: dict[str | None, list[Decimal]] = defaultdict(list)
    for outcome in received:
        if outcome.amount is not None:
            by_currency[outcome.currency].append(outcome.amount)
    costs = []
    for currency, amounts in sorted(by_currency.items(), key=lambda item: item[0] or ""):
        total = reduce(_EXACT.add, amounts)
        mean = _EXACT.quantize(_EXACT.divide(total, Decimal(len(amounts))), _ROUNDED)
        cents = _EXACT.quantize(mean, _CENTS)
        # Without trailing zeros after the second place: `0.20`, `0.2033`.
        price = cents if cents == mean else mean
        costs.append(
            Cost(
                currency=currency,
                codes=len(amounts),
                total=f"{total:f}",
                price_a_code=f"{price:f}",
            )
        )
    return costs
