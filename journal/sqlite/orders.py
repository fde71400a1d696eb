"""Orders in SQLite: their rows, and the queries of readers."""

import sqlite3
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from core.event import Price
from core.order import AWAITED, BY_NUMBER, NAMES, Order, OrderState, RegisteredBy

from ..reads import KnownOrders, OpenOrders, OrderById, Page
from ..records import StoredOrder
from ..seal import Kind, Opener, Sealer
from ..writes import RenewOrders
from . import sealed
from .paging import Condition, Sought, any_of, page

#: The time to read an order, as a multiple of the time for a narrow row.
_WIDE = 3
#: An order is shown with this many events, the newest.
SHOWN = 100

COLUMNS = (
    "id, source, provider, kind, name, number, service, country, amount, currency, reference,"
    " labels, created_at, expires_at, lasts, state, origin, provided, reason,"
    " sealed"
)
_SLOTS = ", ".join("?" * (COLUMNS.count(",") + 1))
#: Replaces an order: the values of COLUMNS, then its id.
UPDATE = f"update orders set ({COLUMNS}) = ({_SLOTS}) where id = ?"  # noqa: S608 - our words
INSERT = f"insert into orders ({COLUMNS}) values ({_SLOTS})"  # noqa: S608 - our words
_AWAITED = ", ".join(f"'{type_}'" for type_ in sorted(AWAITED))
#: The first event that an order awaited. An index finds it, however many events an order has.
FIRST_AWAITED = (
    "select order_events.event as event from order_events"  # noqa: S608 - our words
    " join events on events.seq = order_events.event"
    f" where order_seq = orders.seq and type in ({_AWAITED})"
    " union all select order_copies.event from order_copies"
    " join events on events.seq = order_copies.event"
    f" where order_seq = orders.seq and type in ({_AWAITED})"
    " order by event limit 1"
)
#: The columns for `read_order`.
READ = f"{COLUMNS}, (select recorded_at from events where seq = ({FIRST_AWAITED})) as received_at"  # noqa: S608 - our words


def orders(conn: sqlite3.Connection, read: KnownOrders, opener: Opener) -> Page[Order]:
    wanted = read.filter
    named: list[Condition] = [
        (f"kind = ? and {slots}", (kind, *names))
        for kind in NAMES
        for slots, names in any_of(("name",), getattr(wanted, kind))
    ]
    conditions = [
        *any_of(("state",), wanted.state),
        *any_of(("source",), wanted.source),
        *any_of(("reference",), wanted.reference),
        *any_of(("number",), sealed.find_numbers(opener, wanted.number)),
        *named,
    ]
    indexed = not conditions or bool(wanted.reference or wanted.number or named)
    is_waiting = wanted.state == (OrderState.WAITING,)
    sought = Sought(
        table="orders",
        place="seq",
        columns=READ,
        conditions=conditions,
        indexed=indexed or is_waiting,
        weight=_WIDE,
        among=(lambda *between: _waiting(conn, *between, desc=read.desc))
        if is_waiting and not indexed
        else None,
    )
    return page(conn, sought, lambda row: read_order(row, opener), read)


def _waiting(conn: sqlite3.Connection, low: int, high: int, most: int, *, desc: bool) -> list[int]:
    """Return the first places of waiting orders, by their index: few orders wait."""
    rows = conn.execute(
        "select seq from orders indexed by orders_waiting"  # noqa: S608 - our words
        " where state = 'waiting' and +seq between ? and ?"
        f" order by +seq {'desc' if desc else 'asc'} limit ?",
        (low, high, most),
    )
    return [place for (place,) in rows]


def order(conn: sqlite3.Connection, read: OrderById, opener: Opener) -> StoredOrder | None:
    row = conn.execute(f"select {READ} from orders where id = ?", (read.id,)).fetchone()  # noqa: S608 - our words
    if row is None:
        return None
    rows = conn.execute(
        f"select {sealed.BODY} from (select order_events.event from orders"  # noqa: S608 - our words
        " join order_events on order_seq = orders.seq where orders.id = :id"
        " union select order_copies.event from orders"
        " join order_copies on order_seq = orders.seq where orders.id = :id) as its"
        " join events on events.seq = its.event order by its.event desc limit :most",
        {"id": read.id, "most": SHOWN},
    ).fetchall()
    return StoredOrder(
        order=read_order(row, opener),
        events=tuple(
            opener.open(sealed.stored_body(one), read.opening).body for one in reversed(rows)
        ),
    )


def open_orders(conn: sqlite3.Connection, read: OpenOrders, opener: Opener) -> list[Order]:
    # A union: each half has its own index.
    rows = conn.execute(
        f"select {READ} from (select * from orders where expires_at >= ?"  # noqa: S608 - our words
        " union select * from orders where state = 'waiting') as orders order by seq",
        (read.since,),
    )
    return [read_order(row, opener) for row in rows]


def order_values(order: Order, sealer: Sealer | None) -> tuple[object, ...]:
    """Return the values of COLUMNS."""
    name, number, part = sealed.order_columns(sealer, order)
    return (
        *(order.id, order.source, order.provider, order.kind, name),
        *(number, order.service, order.country),
        *((order.price.amount, order.price.currency) if order.price else (None, None)),
        *(order.reference, msgspec.json.encode(order.labels).decode()),
        *(order.created_at, order.expires_at, order.lasts, order.state),
        *(order.origin, msgspec.json.encode(order.provided).decode(), order.reason, part),
    )


def read_order(row: Sequence[Any], opener: Opener) -> Order:
    """Return the order of a row of COLUMNS and `received_at`."""
    names = (*COLUMNS.replace(",", " ").split(), "received_at")
    said: Mapping[str, Any] = dict(zip(names, row, strict=True))
    others = ("amount", "currency", "sealed")
    plain = {name: value for name, value in said.items() if name not in others}
    typed = {
        "price": said["amount"] and Price(amount=said["amount"], currency=said["currency"]),
        "labels": msgspec.json.decode(said["labels"]),
        "state": OrderState(said["state"]),
        "origin": RegisteredBy(said["origin"]),
        "provided": tuple(msgspec.json.decode(said["provided"])),
    }
    return Order(**{**plain, **typed, **sealed.open_order(opener, said)})


def renew(conn: sqlite3.Connection, op: RenewOrders, sealer: Sealer) -> bool:
    """Seal the numbers of open orders under the newest key; return whether rows are left."""
    rows = conn.execute(
        f"select sealed, {READ} from orders where sealed is not null"  # noqa: S608 - our words
        " and (expires_at > ? or state = 'waiting')",
        (op.now,),
    )
    old = [row for part, *row in rows if not sealer.is_newest(Kind.PEOPLE, part)]
    for row in old[: op.limit]:
        order = read_order(row, sealer)
        if order.number is not None or order.kind == BY_NUMBER:
            conn.execute(UPDATE, (*order_values(order, sealer), order.id))
    return len(old) > op.limit
