"""Orders in SQLite: kept, joined to events that came before them, and read."""

import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import msgspec

from . import KeptOrder, Page, Placed, Planned, WantedOrders
from .event import Price
from .order import (
    AWAITED,
    BY_NUMBER,
    GRACE,
    NAMES,
    Order,
    OrderState,
    gained,
    is_named,
    is_numbered,
    merged,
    told_in,
)
from .sqlite_pages import Condition, Sought, any_of, page

#: The newest events that are looked through for a number, which no index leads to; of an id, which
#: one does, the newest so many. Bounded, because the thread that writes looks.
LOOKED_THROUGH = 5_000
FOUND_MOST = 1_000
#: Of its events, so many are shown with an order, the newest.
SHOWN = 100

_COLUMNS = (
    "id, source, provider, kind, name, number, service, country, amount, currency, reference,"
    " labels, created_at, expires_at, state"
)
_SLOTS = ", ".join("?" * (_COLUMNS.count(",") + 1))
_AWAITED = ", ".join(f"'{type_}'" for type_ in sorted(AWAITED))
# The first is found by an index, however many an order has.
_READ = (
    f"{_COLUMNS}, (select recorded_at from order_events"  # noqa: S608 - our words
    " join events on events.seq = order_events.event"
    f" where order_seq = orders.seq and type in ({_AWAITED})"
    " order by order_events.event limit 1) as received_at"
)
_FREE = "not exists (select 1 from order_events where order_events.event = events.seq)"


class Place(msgspec.Struct, frozen=True):
    order: Order
    #: When it ends, where that was asked for.
    end: float | None


class Cancel(msgspec.Struct, frozen=True):
    id: str
    at: float


class Expire(msgspec.Struct, frozen=True):
    #: Its `order` is the one that expires.
    plan: Planned


# --- writing, in a batch's transaction -------------------------------------------------------


def place(conn: sqlite3.Connection, op: Place) -> Placed:
    """Keep it, or add to the one that is there, and join what came before. Events must be rows."""
    known = _known(conn, op.order)
    if known is None:
        conn.execute(
            f"insert into orders ({_COLUMNS}) values ({_SLOTS})",  # noqa: S608 - our words
            _values(op.order),
        )
        order = op.order
    else:
        order, conflicts = merged(known, op.order, op.end)
        if conflicts:
            return Placed(order=known, new=False, conflicts=conflicts)
        conn.execute(
            f"update orders set ({_COLUMNS}) = ({_SLOTS}) where id = ?",  # noqa: S608 - our words
            (*_values(order), order.id),
        )
        _gain_all(conn, order)
    _join_all(conn, order)
    return Placed(order=_order(conn, order.id) or order, new=known is None, conflicts=())


def cancel(conn: sqlite3.Connection, op: Cancel) -> Order | None:
    """It ends now, if it has not; None: there is none."""
    conn.execute(
        "update orders set state = ?, expires_at = min(expires_at, ?) where id = ? and state <> ?",
        (OrderState.CANCELLED, op.at, op.id, OrderState.CANCELLED),
    )
    return _order(conn, op.id)


def expire(conn: sqlite3.Connection, op: Expire) -> bool:
    """False: it has ended otherwise, or ends later, or is not there."""
    changed = conn.execute(
        "update orders set state = ? where id = ? and state = ? and expires_at <= ?",
        (OrderState.EXPIRED, op.plan.order, OrderState.WAITING, op.plan.at),
    ).rowcount
    return bool(changed)


def link(conn: sqlite3.Connection, order_id: str, event: int, type_: str) -> None:
    """The event was accepted with what its order knows."""
    conn.execute(
        "insert into order_events (event, order_seq) select ?, seq from orders where id = ?",
        (event, order_id),
    )
    if type_ in AWAITED:
        _receive(conn, order_id)


def join(conn: sqlite3.Connection, order_id: str, event: int) -> None:
    """A copy of a kept event told whose it is. The event must be a row."""
    order = _order(conn, order_id)
    row = conn.execute(
        f"select seq, type, body from events where seq = ? and {_FREE}",  # noqa: S608 - our words
        (event,),
    ).fetchone()
    if order is not None and row is not None:
        _join(conn, order, *row)


def _known(conn: sqlite3.Connection, given: Order) -> Order | None:
    row = conn.execute(
        f"select {_READ} from orders where source = ? and kind = ? and name = ?"  # noqa: S608 - our words
        " order by seq desc limit 1",
        (given.source, given.kind, given.name),
    ).fetchone()
    order = None if row is None else _read(row)
    if order is not None and given.kind == BY_NUMBER and order.is_over(given.created_at):
        return None
    return order


def _join_all(conn: sqlite3.Connection, order: Order) -> None:
    for seq, type_, body, at in [*_named(conn, order), *_numbered(conn, order)]:
        told = told_in(msgspec.json.decode(body), at=at)
        if is_named(order, told) or is_numbered(order, told):
            _join(conn, order, seq, type_, body)


def _named(conn: sqlite3.Connection, order: Order) -> Sequence[Any]:
    if order.kind == BY_NUMBER:
        return ()
    return conn.execute(
        "select seq, type, body, recorded_at from events"  # noqa: S608 - our words
        f" where (subject = ? or also = ?) and source = ? and {_FREE} order by seq desc limit ?",
        (order.subject, order.subject, order.source, FOUND_MOST),
    ).fetchall()


def _numbered(conn: sqlite3.Connection, order: Order) -> Sequence[Any]:
    if order.number is None:
        return ()
    # As we encode it; in a text the quotes would be escaped.
    return conn.execute(
        "select seq, type, body, recorded_at from events"  # noqa: S608 - our words
        " where seq > (select coalesce(max(seq), 0) from events) - ?"
        f" and recorded_at >= ? and source = ? and instr(body, ?) and {_FREE}",
        (LOOKED_THROUGH, order.created_at - GRACE, order.source, f'"to":"{order.number}"'),
    ).fetchall()


def _join(conn: sqlite3.Connection, order: Order, seq: int, type_: str, body: str) -> None:
    # Once, though it may be found by its id and by its number.
    changed = conn.execute(
        "insert into order_events (event, order_seq) select ?, seq from orders where id = ?"
        " on conflict do nothing",
        (seq, order.id),
    ).rowcount
    if changed:
        _gain(conn, order, seq, body)
        if type_ in AWAITED:
            _receive(conn, order.id)


def _gain_all(conn: sqlite3.Connection, order: Order) -> None:
    rows = conn.execute(
        "select events.seq, body from orders join order_events on order_seq = orders.seq"
        " join events on events.seq = order_events.event where orders.id = ?",
        (order.id,),
    ).fetchall()
    for seq, body in rows:
        _gain(conn, order, seq, body)


def _gain(conn: sqlite3.Connection, order: Order, seq: int, body: str) -> None:
    event = msgspec.json.decode(body)
    news = gained(event["data"], order)
    if news:
        event["data"] |= news
        conn.execute(
            "update events set body = ?, reference = ? where seq = ?",
            (msgspec.json.encode(event).decode(), event["data"]["reference"], seq),
        )


def _receive(conn: sqlite3.Connection, order_id: str) -> None:
    conn.execute(
        "update orders set state = ? where id = ? and state in (?, ?)",
        (OrderState.RECEIVED, order_id, OrderState.WAITING, OrderState.EXPIRED),
    )


def _order(conn: sqlite3.Connection, order_id: str) -> Order | None:
    row = conn.execute(
        f"select {_READ} from orders where id = ?",  # noqa: S608 - our words
        (order_id,),
    ).fetchone()
    return None if row is None else _read(row)


# --- reading -----------------------------------------------------------------------------------


def orders(
    conn: sqlite3.Connection, wanted: WantedOrders, *, after: int | None, limit: int, desc: bool
) -> Page[Order]:
    named = list(_by_name(wanted))
    conditions = [
        *any_of(("state",), wanted.state),
        *any_of(("source",), wanted.source),
        *any_of(("reference",), wanted.reference),
        *any_of(("number",), wanted.number),
        *named,
    ]
    indexed = not conditions or bool(wanted.reference or wanted.number or named)
    sought = Sought(*("orders", "seq", _READ, conditions, indexed))
    return page(conn, sought, _read, after=after, limit=limit, desc=desc)


def _by_name(wanted: WantedOrders) -> Iterator[Condition]:
    for kind in NAMES:
        for slots, names in any_of(("name",), getattr(wanted, kind)):
            yield f"kind = ? and {slots}", (kind, *names)


def order(conn: sqlite3.Connection, order_id: str) -> KeptOrder | None:
    kept = _order(conn, order_id)
    if kept is None:
        return None
    rows = conn.execute(
        "select body from orders join order_events on order_seq = orders.seq"
        " join events on events.seq = order_events.event where orders.id = ?"
        " order by order_events.event desc limit ?",
        (order_id, SHOWN),
    ).fetchall()
    return KeptOrder(order=kept, events=tuple(body.encode() for (body,) in reversed(rows)))


def open_orders(conn: sqlite3.Connection, *, since: float) -> list[Order]:
    # Two questions, because each of the indexes answers one.
    rows = conn.execute(
        f"select {_READ} from (select * from orders where expires_at >= ?"  # noqa: S608 - our words
        " union select * from orders where state = 'waiting') as orders order by seq",
        (since,),
    )
    return [_read(row) for row in rows]


def _values(order: Order) -> tuple[object, ...]:
    return (
        *(order.id, order.source, order.provider, order.kind, order.name),
        *(order.number, order.service, order.country),
        *((order.price.amount, order.price.currency) if order.price else (None, None)),
        *(order.reference, msgspec.json.encode(order.labels).decode()),
        *(order.created_at, order.expires_at, order.state),
    )


def _read(row: Sequence[Any]) -> Order:
    names = (*_COLUMNS.replace(",", " ").split(), "received_at")
    said: Mapping[str, Any] = dict(zip(names, row, strict=True))
    plain = {name: value for name, value in said.items() if name not in ("amount", "currency")}
    price = said["amount"] and Price(amount=said["amount"], currency=said["currency"])
    labels, state = msgspec.json.decode(said["labels"]), OrderState(said["state"])
    return Order(**{**plain, "price": price, "labels": labels, "state": state})
