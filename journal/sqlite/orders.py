"""Orders in SQLite: kept, joined to events that came before them, and read."""

import sqlite3
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import msgspec

from core.event import Price
from core.order import (
    AWAITED,
    BY_NUMBER,
    GRACE,
    NAMES,
    REPLACEABLE,
    Order,
    OrderState,
    RegisteredBy,
    Registration,
    gained,
    is_named,
    is_numbered,
    is_same,
    merged,
    told_in,
)

from ..reads import KnownOrders, OpenOrders, OrderById, OrderFilter, Page
from ..records import Registered, StoredOrder
from ..writes import CancelOrder, ExpireOrder, LapseOrder, MoveOrders, RegisterOrder
from .paging import Condition, Sought, any_of, page

#: The newest events that are looked through for a number, which no index leads to; of an id, which
#: one does, the newest so many. Bounded, because the thread that writes looks.
LOOKED_THROUGH = 5_000
FOUND_MOST = 1_000
#: Of its events, so many are shown with an order, the newest.
SHOWN = 100

_COLUMNS = (
    "id, source, provider, kind, name, number, service, country, amount, currency, reference,"
    " labels, created_at, expires_at, lasts, state, origin, provided, reason"
)
_SLOTS = ", ".join("?" * (_COLUMNS.count(",") + 1))
_AWAITED = ", ".join(f"'{type_}'" for type_ in sorted(AWAITED))
# Each of both is found by an index, however many events an order has.
_READ = (
    f"{_COLUMNS}, (select min(recorded_at) from ("  # noqa: S608 - our words
    "select recorded_at, order_events.event from order_events"
    " join events on events.seq = order_events.event"
    f" where order_seq = orders.seq and type in ({_AWAITED})"
    " union all select recorded_at, order_copies.event from order_copies"
    " join events on events.seq = order_copies.event"
    f" where order_seq = orders.seq and type in ({_AWAITED})"
    " order by 2 limit 1)) as received_at"
)
#: Events that an order may take: a user's takes those of a provider's, too.
_FREE = {
    RegisteredBy.PROVIDER: (
        "not exists (select 1 from order_events where order_events.event = events.seq)"
    ),
    RegisteredBy.USER: (
        "not exists (select 1 from order_events join orders on orders.seq = order_seq"
        " where order_events.event = events.seq and origin = 'user')"
    ),
}


# --- writing, in a batch's transaction -------------------------------------------------------


def place(conn: sqlite3.Connection, op: RegisterOrder) -> Registered:
    """Keep it, or add to the one that is there, and join what came before. Events must be rows."""
    placed = _keep(conn, op)
    if placed.conflicts:
        return placed
    _join_all(conn, placed.order)
    order = _order(conn, placed.order.id) or placed.order
    return Registered(order=order, new=placed.new, conflicts=())


def tell(
    conn: sqlite3.Connection, given: Order, event: int, type_: str, taken: Sequence[str]
) -> Order:
    """Keep the order that an event names, and join the event to it. The event must be a row."""
    order = _keep(conn, RegisterOrder(given, None)).order
    link(conn, order.id, event, type_, taken)
    _gain_all(conn, order)
    _join_all(conn, order)
    return _order(conn, order.id) or order


def _keep(conn: sqlite3.Connection, op: RegisterOrder) -> Registered:
    known = _known(conn, op.order)
    if known is None:
        conn.execute(
            f"insert into orders ({_COLUMNS}) values ({_SLOTS})",  # noqa: S608 - our words
            _values(op.order),
        )
        return Registered(order=op.order, new=True, conflicts=())
    order, conflicts = merged(known, op.order, op.end)
    if not conflicts and order != known:
        conn.execute(
            f"update orders set ({_COLUMNS}) = ({_SLOTS}) where id = ?",  # noqa: S608 - our words
            (*_values(order), order.id),
        )
        _gain_all(conn, order)
    return Registered(order=order, new=False, conflicts=conflicts)


def cancel(conn: sqlite3.Connection, op: CancelOrder) -> Order | None:
    """It ends now, if it has not; None: there is none."""
    conn.execute(
        "update orders set state = ?, expires_at = min(expires_at, ?) where id = ? and state <> ?",
        (OrderState.CANCELLED, op.at, op.id, OrderState.CANCELLED),
    )
    return _order(conn, op.id)


def expire(conn: sqlite3.Connection, op: ExpireOrder) -> bool:
    """Whether it ends with an event. False: it ended before, ends later, or its SMS came."""
    if not op.at_once:
        changed = conn.execute(
            "update orders set state = ?, reason = ?"
            " where id = ? and state = ? and expires_at <= ? and origin = ?",
            (
                OrderState.EXPIRED,
                op.reason,
                op.plan.order,
                OrderState.WAITING,
                op.plan.at,
                RegisteredBy.USER,
            ),
        ).rowcount
        return bool(changed)
    changed = conn.execute(
        "update orders set state = ?, reason = ?, expires_at = min(expires_at, ?)"
        " where id = ? and reason is null and state in (?, ?)",
        (
            *(OrderState.EXPIRED, op.reason, op.plan.at, op.plan.order),
            *(OrderState.WAITING, OrderState.EXPIRED),
        ),
    ).rowcount
    if not changed:
        conn.execute(
            "update orders set reason = ?, expires_at = min(expires_at, ?)"
            " where id = ? and reason is null and state = ?",
            (op.reason, op.plan.at, op.plan.order, OrderState.RECEIVED),
        )
    return bool(changed)


def lapse(conn: sqlite3.Connection, op: LapseOrder) -> Order | None:
    """Its time is up, and nobody registered it: it ends without an event."""
    conn.execute(
        "update orders set state = ? where id = ? and state = ? and expires_at <= ? and origin = ?",
        (OrderState.EXPIRED, op.id, OrderState.WAITING, op.at, RegisteredBy.PROVIDER),
    )
    return _order(conn, op.id)


def move(conn: sqlite3.Connection, op: MoveOrders) -> None:
    """Change the times of waiting orders, each only if they are still as they were."""
    conn.executemany(
        "update orders set created_at = ?, expires_at = ?"
        " where id = ? and state = ? and created_at = ? and expires_at = ?",
        [
            (
                *(to.created_at, to.expires_at, order.id, OrderState.WAITING),
                *(order.created_at, order.expires_at),
            )
            for order, to in op.moved
        ],
    )


def link(
    conn: sqlite3.Connection, order_id: str, event: int, type_: str, taken: Sequence[str]
) -> None:
    """The event was accepted with what its order knows."""
    conn.execute(
        "insert into order_events (event, order_seq, taken)"
        " select ?, seq, ? from orders where id = ?",
        (event, _names(taken), order_id),
    )
    if type_ in AWAITED:
        _receive(conn, order_id)


def join(conn: sqlite3.Connection, order_id: str, event: int, told: Registration) -> None:
    """A copy of a kept event, which says `told`, named its order. The event must be a row."""
    order = _order(conn, order_id)
    if order is None:
        return
    seq, type_, body = conn.execute(
        "select seq, type, body from events where seq = ?", (event,)
    ).fetchone()
    if _join(conn, order, seq, type_, body):
        return
    owner = conn.execute(
        "select 1 from order_events join orders on orders.seq = order_seq"
        " where event = ? and id <> ?",
        (event, order_id),
    ).fetchone()
    # By a number it may be found for one order as well as for another.
    if owner and is_named(order, told) and type_ in AWAITED:
        conn.execute(
            "insert into order_copies (order_seq, event) select seq, ? from orders where id = ?"
            " on conflict do nothing",
            (event, order_id),
        )
        _receive(conn, order_id)


def _known(conn: sqlite3.Connection, given: Order) -> Order | None:
    row = conn.execute(
        f"select {_READ} from orders where source = ? and kind = ? and name = ?"  # noqa: S608 - our words
        " order by seq desc limit 1",
        (given.source, given.kind, given.name),
    ).fetchone()
    order = None if row is None else _read(row)
    return order if order is not None and is_same(order, given) else None


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
        f" where (subject = ? or also = ?) and source = ? and {_FREE[order.origin]}"
        " order by seq desc limit ?",
        (order.subject, order.subject, order.source, FOUND_MOST),
    ).fetchall()


def _numbered(conn: sqlite3.Connection, order: Order) -> Sequence[Any]:
    if order.number is None:
        return ()
    # As we encode it; in a text the quotes would be escaped.
    return conn.execute(
        "select seq, type, body, recorded_at from events"  # noqa: S608 - our words
        " where seq > (select coalesce(max(seq), 0) from events) - ?"
        f" and recorded_at >= ? and source = ? and instr(body, ?) and {_FREE[order.origin]}",
        (LOOKED_THROUGH, order.created_at - GRACE, order.source, f'"to":"{order.number}"'),
    ).fetchall()


def _join(conn: sqlite3.Connection, order: Order, seq: int, type_: str, body: str) -> bool:
    """Whether the event is the order's from now on."""
    row = conn.execute(
        "select origin, taken, id from order_events join orders on orders.seq = order_seq"
        " where event = ?",
        (seq,),
    ).fetchone()
    origin, taken, owner = row or (RegisteredBy.PROVIDER, _names(()), None)
    # Once, though it may be found by its id and by its number.
    if owner is not None and (origin == order.origin or order.origin is RegisteredBy.PROVIDER):
        return bool(owner == order.id)
    conn.execute(
        "insert into order_events (event, order_seq) select ?, seq from orders where id = ?"
        " on conflict do update set order_seq = excluded.order_seq",
        (seq, order.id),
    )
    _gain(conn, order, seq, body, msgspec.json.decode(taken))
    if type_ in AWAITED:
        _receive(conn, order.id)
    return True


def _gain_all(conn: sqlite3.Connection, order: Order) -> None:
    rows = conn.execute(
        "select events.seq, body, taken from orders join order_events on order_seq = orders.seq"
        " join events on events.seq = order_events.event where orders.id = ?",
        (order.id,),
    ).fetchall()
    for seq, body, taken in rows:
        _gain(conn, order, seq, body, msgspec.json.decode(taken))


def _gain(
    conn: sqlite3.Connection, order: Order, seq: int, body: str, taken: Sequence[str]
) -> None:
    event = msgspec.json.decode(body)
    news = gained(event["data"], order, taken)
    if not news:
        return
    event["data"] |= news
    conn.execute(
        "update events set body = ?, reference = ? where seq = ?",
        (msgspec.json.encode(event).decode(), event["data"]["reference"], seq),
    )
    now_taken = _names(name for name in REPLACEABLE if name in news or name in taken)
    conn.execute("update order_events set taken = ? where event = ?", (now_taken, seq))


def _names(names: Iterable[str]) -> str:
    return msgspec.json.encode(list(names)).decode()


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


def orders(conn: sqlite3.Connection, read: KnownOrders) -> Page[Order]:
    wanted = read.filter
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
    return page(conn, sought, _read, read)


def _by_name(wanted: OrderFilter) -> Iterator[Condition]:
    for kind in NAMES:
        for slots, names in any_of(("name",), getattr(wanted, kind)):
            yield f"kind = ? and {slots}", (kind, *names)


def order(conn: sqlite3.Connection, read: OrderById) -> StoredOrder | None:
    kept = _order(conn, read.id)
    if kept is None:
        return None
    rows = conn.execute(
        "select body from (select order_events.event from orders"
        " join order_events on order_seq = orders.seq where orders.id = :id"
        " union select order_copies.event from orders"
        " join order_copies on order_seq = orders.seq where orders.id = :id) as its"
        " join events on events.seq = its.event order by its.event desc limit :most",
        {"id": read.id, "most": SHOWN},
    ).fetchall()
    return StoredOrder(order=kept, events=tuple(body.encode() for (body,) in reversed(rows)))


def open_orders(conn: sqlite3.Connection, read: OpenOrders) -> list[Order]:
    # Two questions, because each of the indexes answers one.
    rows = conn.execute(
        f"select {_READ} from (select * from orders where expires_at >= ?"  # noqa: S608 - our words
        " union select * from orders where state = 'waiting') as orders order by seq",
        (read.since,),
    )
    return [_read(row) for row in rows]


def _values(order: Order) -> tuple[object, ...]:
    return (
        *(order.id, order.source, order.provider, order.kind, order.name),
        *(order.number, order.service, order.country),
        *((order.price.amount, order.price.currency) if order.price else (None, None)),
        *(order.reference, msgspec.json.encode(order.labels).decode()),
        *(order.created_at, order.expires_at, order.lasts, order.state),
        *(order.origin, _names(order.provided), order.reason),
    )


def _read(row: Sequence[Any]) -> Order:
    names = (*_COLUMNS.replace(",", " ").split(), "received_at")
    said: Mapping[str, Any] = dict(zip(names, row, strict=True))
    plain = {name: value for name, value in said.items() if name not in ("amount", "currency")}
    typed = {
        "price": said["amount"] and Price(amount=said["amount"], currency=said["currency"]),
        "labels": msgspec.json.decode(said["labels"]),
        "state": OrderState(said["state"]),
        "origin": RegisteredBy(said["origin"]),
        "provided": tuple(msgspec.json.decode(said["provided"])),
    }
    return Order(**{**plain, **typed})
