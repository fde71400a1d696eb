"""How long codes took, how many never came and what they cost, group by group. Pure."""

import statistics
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from decimal import ROUND_HALF_EVEN, Context, Decimal
from typing import Any

import msgspec

#: What orders may be grouped by: names of their fields.
FIELDS = ("source", "provider", "service", "country")
#: More digits than the sum of any orders has: an amount has 45 at the most.
_EXACT = Context(prec=100, rounding=ROUND_HALF_EVEN)
#: The price of a code is rounded to this, and shown with two places at least.
_ROUNDED, _CENTS = Decimal("0.0001"), Decimal("0.01")


class OrderOutcome(msgspec.Struct, frozen=True, kw_only=True):
    """What became of an order."""

    #: By name of each of FIELDS.
    fields: Mapping[str, str | None]
    #: `waiting`, `received`, `expired` or `cancelled`.
    state: str
    #: From its registration to when its first SMS or call was accepted; None: not known.
    seconds: float | None = None
    amount: Decimal | None = None
    currency: str | None = None


class Cost(msgspec.Struct, frozen=True, kw_only=True):
    """What codes cost in one currency. Amounts are texts of digits."""

    #: None: it was not said.
    currency: str | None
    #: How many orders with a price got a code.
    codes: int
    #: The exact sum of what they cost.
    total: str
    #: The mean, rounded to a hundredth of a cent.
    price_a_code: str


class FigureGroup(msgspec.Struct, frozen=True, kw_only=True):
    """Orders that have the same in all that they are grouped by. Cancelled ones are not counted."""

    #: What they have in common, by name; null: it was not told.
    of: Mapping[str, str | None]
    #: How many got an SMS or a call.
    received: int
    #: How many ended without.
    expired: int
    #: How many may still get one.
    waiting: int
    #: The median of those that got one, to a millisecond; null: there is none.
    median_seconds: float | None
    #: expired / (received + expired), from 0 to 1; null: none has ended.
    never_came: float | None
    #: One a currency, by its name: no sum is made over two.
    costs: Sequence[Cost]


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """The groups, those with most orders first, and all of them as one."""

    groups: Sequence[FigureGroup]
    all: FigureGroup


def outcome(order: Mapping[str, Any], seconds: float | None) -> OrderOutcome:
    """Of an order as the API lists it; its service becomes the key that events have."""
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
    """Grouped by some of FIELDS, in that order."""
    counted = [outcome for outcome in outcomes if outcome.state != "cancelled"]
    grouped: dict[tuple[str | None, ...], list[OrderOutcome]] = defaultdict(list)
    for outcome in counted:
        grouped[tuple(outcome.fields[name] for name in by)].append(outcome)
    ordered = sorted(grouped.items(), key=lambda item: (-len(item[1]), _named(item[0])))
    groups = [_group(dict(zip(by, names, strict=True)), its) for names, its in ordered]
    return Report(groups=groups, all=_group({}, counted))


def _named(names: Sequence[str | None]) -> Sequence[tuple[bool, str]]:
    """To sort by: what was not told stands last."""
    return [(name is None, name or "") for name in names]


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
    # Whether a provider gives back what a code cost that never came is not known here.
    amounts: dict[str | None, list[Decimal]] = defaultdict(list)
    for outcome in received:
        if outcome.amount is not None:
            amounts[outcome.currency].append(outcome.amount)
    return [_cost(name, amounts[name]) for name in sorted(amounts, key=lambda name: name or "")]


def _cost(currency: str | None, amounts: Sequence[Decimal]) -> Cost:
    total = Decimal(0)
    for amount in amounts:
        total = _EXACT.add(total, amount)
    mean = _EXACT.divide(total, Decimal(len(amounts)))
    return Cost(
        currency=currency,
        codes=len(amounts),
        total=f"{total:f}",
        price_a_code=_price(mean),
    )


def _price(amount: Decimal) -> str:
    """`0.20`, `0.2033`: four places, without the noughts behind the second."""
    rounded = _EXACT.quantize(amount, _ROUNDED)
    cents = _EXACT.quantize(rounded, _CENTS)
    return f"{cents if cents == rounded else rounded:f}"
