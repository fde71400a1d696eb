"""Queries of the journal and their pages."""

from collections.abc import Mapping
from typing import Generic, TypeVar

import msgspec

from core.delivery import State
from core.order import OrderState

T = TypeVar("T")


class EventFilter(msgspec.Struct, frozen=True, kw_only=True):
    """Which events a reader asks for. Empty tuples ask for any."""

    type: tuple[str, ...] = ()
    source: tuple[str, ...] = ()
    subject: tuple[str, ...] = ()
    service: tuple[str, ...] = ()
    #: E.164.
    number: tuple[str, ...] = ()
    request_id: tuple[str, ...] = ()
    activation_id: tuple[str, ...] = ()
    rental_id: tuple[str, ...] = ()
    telephone_id: tuple[str, ...] = ()
    reference: tuple[str, ...] = ()
    code: bool | None = None
    #: Seconds since the epoch, on `recordedtime`: since included, until not.
    since: float | None = None
    until: float | None = None


class DeliveryFilter(msgspec.Struct, frozen=True, kw_only=True):
    """Which deliveries a reader asks for. Empty tuples ask for any."""

    state: tuple[State, ...] = ()
    #: Ids of deliveries whose attempt is under way; what else is taken is read as pending.
    #: None: what is taken is read as `sending`.
    under_way: tuple[int, ...] | None = None
    sink: tuple[str, ...] = ()
    #: Ids of events.
    event: tuple[str, ...] = ()


class OrderFilter(msgspec.Struct, frozen=True, kw_only=True):
    """Which orders a reader asks for. Empty tuples ask for any."""

    state: tuple[OrderState, ...] = ()
    source: tuple[str, ...] = ()
    reference: tuple[str, ...] = ()
    #: E.164.
    number: tuple[str, ...] = ()
    request_id: tuple[str, ...] = ()
    activation_id: tuple[str, ...] = ()
    rental_id: tuple[str, ...] = ()


class Page(msgspec.Struct, Generic[T], frozen=True, kw_only=True):
    """Rows in the order of commits, and how far was looked."""

    #: (place, row).
    items: tuple[tuple[int, T], ...]
    #: The place to go on from, also where nothing was found.
    next_seq: int
    has_more: bool


class Marks(msgspec.Struct, frozen=True, kw_only=True):
    """What stands at places of a list."""

    #: By the place that was asked for: the place of the row there, or of the one before it in the
    #: order of reading, and a text that tells that row from any other.
    beside: Mapping[int, tuple[int, str]]
    #: The newest place that was ever given.
    newest: int
